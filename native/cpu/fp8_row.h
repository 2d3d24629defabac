// Quantisation of a row from any wide format to FP8. C: the type of the arithmetic.
#pragma once

#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int kBlockPackets = kScaleBlock / kVecWidth;

// Calls f(format) for one of the two FP8 formats. The plain level has one generic kernel.
template <class F>
NC_INLINE void with_float8(DType type, F f) {
#if defined(NC_STATIC_KERNELS)
  if (type == DType::float8_e4m3) return f(StaticFormat<DType::float8_e4m3>{});
  return f(StaticFormat<DType::float8_e5m2>{});
#else
  f(RuntimeFormat{type});
#endif
}

// Running maximum of magnitudes, in several vectors so that the comparisons do not form one dependency chain.
template <class C>
struct Largest {
  Packet<C> of[kBlockPackets];
  NC_INLINE Largest() {
    for (Packet<C>& p : of) p = Packet<C>::zero();
  }
  NC_INLINE float value() const {
    return static_cast<float>(largest_position(larger(larger(of[0], of[1]), larger(of[2], of[3]))));
  }
};

template <class C, class X>
NC_INLINE void add_row(X x, const char* row, int64_t n, Largest<C>& largest) {
  int64_t first = 0;
  for (; first + kScaleBlock <= n; first += kScaleBlock) {
    for (int i = 0; i < kBlockPackets; ++i) {
      largest.of[i] = larger_magnitude(largest.of[i], load<C>(x, row, first + i * kVecWidth, Full{}));
    }
  }
  for_each_packet(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    largest.of[0] = larger_magnitude(largest.of[0], load<C>(x, row, first + after, extent));
  });
}

// q = rd(x * scale). Measured: also updates `largest`, as add_row does.
template <bool Measured, class C, class X, class Q>
NC_INLINE void quantize_row(X x, Q q, const char* from, int64_t n, C scale, char* to, Largest<C>& largest) {
  const Packet<C> scales = Packet<C>::all(scale);
  Packet<C> here = largest.of[0];
  for_each_packet(n, [&](int64_t first, auto extent) NC_LAMBDA_INLINE {
    const Packet<C> v = load<C>(x, from, first, extent);
    if constexpr (Measured) here = larger_magnitude(here, v);
    store_float8(q.dtype(), to, first, extent, v * scales);
  });
  largest.of[0] = here;
}

// Writes the E8M0 code of a block and returns the factor that quantises it.
template <class C, class Q>
NC_INLINE Packet<C> block_scale(Q q, float amax, char* code) {
  const uint32_t e8m0 = e8m0_of(amax, q.dtype());
  *code = static_cast<char>(e8m0);
  return Packet<C>::all(static_cast<C>(block_scale_of(e8m0)));
}

// quantize_row with one scale per 32 elements; writes their codes. n is a multiple of 32 except at the end of a row.
template <class C, class X, class Q>
NC_INLINE void quantize_row_by_blocks(X x, Q q, const char* from, int64_t n, char* to, char* codes) {
  int64_t first = 0;
  for (; first + kScaleBlock <= n; first += kScaleBlock, ++codes) {
    Packet<C> v[kBlockPackets];
    for (int i = 0; i < kBlockPackets; ++i) v[i] = load<C>(x, from, first + i * kVecWidth, Full{});
    Largest<C> largest;
    for (int i = 0; i < kBlockPackets; ++i) largest.of[i] = larger_magnitude(largest.of[i], v[i]);
    const Packet<C> scale = block_scale<C>(q, largest.value(), codes);
    for (int i = 0; i < kBlockPackets; ++i) store_float8(q.dtype(), to, first + i * kVecWidth, Full{}, v[i] * scale);
  }
  if (first == n) return;
  // The last, shorter block.
  Packet<C> largest = Packet<C>::zero();
  for_each_packet(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    largest = larger_magnitude(largest, load<C>(x, from, first + after, extent));
  });
  const Packet<C> scale = block_scale<C>(q, static_cast<float>(largest_position(largest)), codes);
  for_each_packet(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    store_float8(q.dtype(), to, first + after, extent, load<C>(x, from, first + after, extent) * scale);
  });
}

}  // namespace NC_LEVEL
}  // namespace nc
