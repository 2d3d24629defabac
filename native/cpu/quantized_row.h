// FP8 output of a norm. The kernels of norm_forward.cpp write a tile of the row, in the compute type, to a buffer that
// stays in the cache; from there it is scaled and rounded once.
#pragma once

#include <type_traits>

#include "fp8_row.h"

namespace nc {
inline namespace NC_LEVEL {

// Elements of a tile: 16 KB, a multiple of a scale block. A tile has at least sixteen elements unless the row is
// shorter: before a short last tile, a tile gives up one block to it.
template <class C>
constexpr int64_t kTileElements = 16384 / static_cast<int64_t>(sizeof(C));
template <class C>
NC_INLINE int64_t tile_size(int64_t left) {
  if (left <= kTileElements<C>) return left;
  return left - kTileElements<C> < 2 * kVecWidth ? kTileElements<C> - kScaleBlock : kTileElements<C>;
}

// Quantises a row of values that fill(first, count, values, last) computes, a tile at a time. last: fill is not called
// again for these elements. `amax` accumulates over rows (Scaling::tensor).
template <class C, class Fill>
NC_INLINE void write_quantized_row(const NormSpec& spec, const ForwardArguments& a, int64_t row, MaxAbs<C>& amax,
                                   Fill fill) {
  alignas(64) C values[kTileElements<C>];
  const char* const from = reinterpret_cast<const char*>(values);
  const ComputeFormat<C> format{};
  const int64_t n = spec.hidden_size;
  char* const y = a.y + row * a.y_stride;
  const auto for_each_tile = [&](auto f) NC_LAMBDA_INLINE {
    int64_t first = 0;
    while (first < n) {
      const int64_t count = tile_size<C>(n - first);
      f(first, count);
      first += count;
    }
  };
  const auto quantize = [&](auto measured, int64_t first, int64_t count, float scale) NC_LAMBDA_INLINE {
    with_float8(spec.quantized, [&](auto q) NC_LAMBDA_INLINE {
      quantize_row<decltype(measured)::value>(format, q, from, count, static_cast<C>(scale), y + first, amax);
    });
  };
  if (spec.scaling == Scaling::row) {
    MaxAbs<C> of_row;
    const bool at_once = n <= kTileElements<C>;
    for_each_tile([&](int64_t first, int64_t count) NC_LAMBDA_INLINE {
      fill(first, count, values, at_once);
      add_row(format, from, count, of_row);
    });
    const float scale = scale_of(of_row.value(), spec.quantized, 0, spec.power_of_two);
    for_each_tile([&](int64_t first, int64_t count) NC_LAMBDA_INLINE {
      if (!at_once) fill(first, count, values, true);
      quantize(std::false_type{}, first, count, scale);
    });
    const float scale_inv = inverse_of(scale);
    memcpy(a.y_scale_inv + row * 4, &scale_inv, 4);
    return;
  }
  if (spec.scaling == Scaling::block) {
    char* const codes = a.y_scale_inv + row * ceil_div(n, kScaleBlock);
    for_each_tile([&](int64_t first, int64_t count) NC_LAMBDA_INLINE {
      fill(first, count, values, true);
      with_float8(spec.quantized, [&](auto q) NC_LAMBDA_INLINE {
        quantize_row_by_blocks<C>(format, q, from, count, y + first, codes + first / kScaleBlock);
      });
    });
    return;
  }
  float scale;
  memcpy(&scale, a.y_scale, sizeof(scale));
  for_each_tile([&](int64_t first, int64_t count) NC_LAMBDA_INLINE {
    fill(first, count, values, true);
    if (a.y_amax != nullptr) {
      quantize(std::true_type{}, first, count, scale);
    } else {
      quantize(std::false_type{}, first, count, scale);
    }
  });
}

}  // namespace NC_LEVEL
}  // namespace nc
