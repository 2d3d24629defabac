// A norm's values on their way into FP8. Rows go through a stretch of memory that stays in the cache: the kernels of
// norm_forward.cpp write their values there in the compute type, and from there they are scaled and rounded, once.
#pragma once

#include <type_traits>

#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {

// Elements of a stretch: whole blocks of scales, and 16 KB.
template <class C>
constexpr int64_t kStretch = 16384 / static_cast<int64_t>(sizeof(C));

template <class C>
NC_INLINE Packet<C> larger_magnitudes(const C* values, int64_t count, Packet<C> amax) {
  for_each_packet(count, [&](int64_t first, auto extent) NC_LAMBDA_INLINE {
    amax = larger_magnitude(amax, load<C>(ComputeFormat<C>{}, reinterpret_cast<const char*>(values), first, extent));
  });
  return amax;
}

template <class Format, class C>
NC_INLINE void quantize_as(const C* values, int64_t count, C scale, char* codes) {
  const Packet<C> factor = Packet<C>::all(scale);
  for_each_packet(count, [&](int64_t first, auto extent) NC_LAMBDA_INLINE {
    const Packet<C> v = load<C>(ComputeFormat<C>{}, reinterpret_cast<const char*>(values), first, extent);
    const U8x8 code = to_float8_bits<Format>(v * factor);
    memcpy(codes + first, &code, static_cast<size_t>(extent.count));
  });
}

// f(format) with the format as a type.
template <class F>
NC_INLINE void with_float8_format(DType format, F f) {
  if (format == DType::float8_e4m3) {
    f(Float8E4m3{});
  } else {
    f(Float8E5m2{});
  }
}

// codes = rd(values * scale)
template <class C>
NC_INLINE void quantize(DType format, const C* values, int64_t count, float scale, char* codes) {
  with_float8_format(
      format, [&](auto f) NC_LAMBDA_INLINE { quantize_as<decltype(f)>(values, count, static_cast<C>(scale), codes); });
}

// The same with a scale for each 32 values, of which the inverses are written too. count: of whole blocks but at the
// end of a row.
template <class C>
NC_INLINE void quantize_blocks(DType format, const C* values, int64_t count, char* codes, char* scale_inv) {
  with_float8_format(format, [&](auto f) NC_LAMBDA_INLINE {
    using Format = decltype(f);
    const auto scale_for = [&](int64_t first, Packet<C> amax) NC_LAMBDA_INLINE {
      const uint32_t code = e8m0_of(static_cast<float>(largest_position(amax)), format);
      scale_inv[first / kScaleBlock] = static_cast<char>(code);
      return static_cast<C>(block_scale_of(code));
    };
    int64_t first = 0;
    for (; first + kScaleBlock <= count; first += kScaleBlock) {
      Packet<C> v[kScaleBlock / kPacket];
      memcpy(v, values + first, sizeof(v));
      Packet<C> amax = Packet<C>::zero();
      for (const Packet<C>& packet : v) amax = larger_magnitude(amax, packet);
      const Packet<C> factor = Packet<C>::all(scale_for(first, amax));
      for (int i = 0; i < kScaleBlock / kPacket; ++i) {
        const U8x8 code = to_float8_bits<Format>(v[i] * factor);
        memcpy(codes + first + i * kPacket, &code, sizeof(code));
      }
    }
    if (first == count) return;
    const Packet<C> amax = larger_magnitudes(values + first, count - first, Packet<C>::zero());
    quantize_as<Format>(values + first, count - first, scale_for(first, amax), codes + first);
  });
}

// A row of n values, which fill(first, count, values, last) computes, a stretch at a time. last: whether these elements
// will not be asked for again. `amax` of all rows: Scaling::tensor.
template <class C, class Fill>
NC_INLINE void quantize_row(const NormSpec& spec, const ForwardArguments& a, int64_t row, Packet<C>& amax, Fill fill) {
  alignas(64) C values[kStretch<C>];
  const int64_t n = spec.hidden_size;
  char* const y = a.y + row * a.y_stride;
  const auto for_each_stretch = [&](auto f) NC_LAMBDA_INLINE {
    for (int64_t first = 0; first < n; first += kStretch<C>) {
      f(first, n - first < kStretch<C> ? n - first : kStretch<C>);
    }
  };
  if (spec.scaling == Scaling::row) {
    Packet<C> of_row = Packet<C>::zero();
    const bool at_once = n <= kStretch<C>;
    for_each_stretch([&](int64_t first, int64_t count) NC_LAMBDA_INLINE {
      fill(first, count, values, at_once);
      of_row = larger_magnitudes(values, count, of_row);
    });
    const float scale = scale_of(static_cast<float>(largest_position(of_row)), spec.quantized, 0, spec.power_of_two);
    for_each_stretch([&](int64_t first, int64_t count) NC_LAMBDA_INLINE {
      if (!at_once) fill(first, count, values, true);
      quantize(spec.quantized, values, count, scale, y + first);
    });
    const float scale_inv = inverse_of(scale);
    memcpy(a.y_scale_inv + row * 4, &scale_inv, 4);
    return;
  }
  const bool by_blocks = spec.scaling == Scaling::block;
  char* const scale_inv = a.y_scale_inv + (by_blocks ? row * ceil_div(n, kScaleBlock) : 0);
  float scale = 1;
  if (!by_blocks) memcpy(&scale, a.y_scale, sizeof(scale));
  for_each_stretch([&](int64_t first, int64_t count) NC_LAMBDA_INLINE {
    fill(first, count, values, true);
    if (by_blocks) {
      quantize_blocks(spec.quantized, values, count, y + first, scale_inv + first / kScaleBlock);
    } else {
      if (a.y_amax != nullptr) amax = larger_magnitudes(values, count, amax);
      quantize(spec.quantized, values, count, scale, y + first);
    }
  });
}

}  // namespace NC_LEVEL
}  // namespace nc
