// Quantisation of a row from any wide format to FP8. C: the type of the arithmetic.
#pragma once

#include "vec8_fp8.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int kBlockVecs = kScaleBlock / kVecWidth;

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
struct MaxAbs {
  Vec8<C> of[kBlockVecs];
  NC_INLINE MaxAbs() {
    for (Vec8<C>& p : of) p = Vec8<C>::zero();
  }
  NC_INLINE float value() const {
    return static_cast<float>(max_position(larger(larger(of[0], of[1]), larger(of[2], of[3]))));
  }
};

template <class C, class X>
NC_INLINE void add_row(X x, const char* row, int64_t n, MaxAbs<C>& largest) {
  int64_t first = 0;
  for (; first + kScaleBlock <= n; first += kScaleBlock) {
    for (int i = 0; i < kBlockVecs; ++i) {
      largest.of[i] = larger_magnitude(largest.of[i], load<C>(x, row, first + i * kVecWidth, FullVec{}));
    }
  }
  for_each_vec(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    largest.of[0] = larger_magnitude(largest.of[0], load<C>(x, row, first + after, extent));
  });
}

// q = rd(x * scale). Measured: also updates `largest`, as add_row does.
template <bool Measured, class C, class X, class Q>
NC_INLINE void quantize_row(X x, Q q, const char* from, int64_t n, C scale, char* to, MaxAbs<C>& largest) {
  const Vec8<C> scales = Vec8<C>::all(scale);
  Vec8<C> here = largest.of[0];
  for_each_vec(n, [&](int64_t first, auto extent) NC_LAMBDA_INLINE {
    const Vec8<C> v = load<C>(x, from, first, extent);
    if constexpr (Measured) here = larger_magnitude(here, v);
    store_float8(q.dtype(), to, first, extent, v * scales);
  });
  largest.of[0] = here;
}

// Writes the E8M0 code of a block and returns the factor that quantises it.
template <class C, class Q>
NC_INLINE Vec8<C> block_scale(Q q, float amax, char* code) {
  const uint32_t e8m0 = e8m0_of(amax, q.dtype());
  *code = static_cast<char>(e8m0);
  return Vec8<C>::all(static_cast<C>(block_scale_of(e8m0)));
}

// quantize_row with one scale per 32 elements; writes their codes. n is a multiple of 32 except at the end of a row.
template <class C, class X, class Q>
NC_INLINE void quantize_row_by_blocks(X x, Q q, const char* from, int64_t n, char* to, char* codes) {
  int64_t first = 0;
  for (; first + kScaleBlock <= n; first += kScaleBlock, ++codes) {
    Vec8<C> v[kBlockVecs];
    for (int i = 0; i < kBlockVecs; ++i) v[i] = load<C>(x, from, first + i * kVecWidth, FullVec{});
    MaxAbs<C> largest;
    for (int i = 0; i < kBlockVecs; ++i) largest.of[i] = larger_magnitude(largest.of[i], v[i]);
    const Vec8<C> scale = block_scale<C>(q, largest.value(), codes);
    for (int i = 0; i < kBlockVecs; ++i) store_float8(q.dtype(), to, first + i * kVecWidth, FullVec{}, v[i] * scale);
  }
  if (first == n) return;
  // The last, shorter block.
  Vec8<C> largest = Vec8<C>::zero();
  for_each_vec(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    largest = larger_magnitude(largest, load<C>(x, from, first + after, extent));
  });
  const Vec8<C> scale = block_scale<C>(q, static_cast<float>(max_position(largest)), codes);
  for_each_vec(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    store_float8(q.dtype(), to, first + after, extent, load<C>(x, from, first + after, extent) * scale);
  });
}

}  // namespace NC_LEVEL
}  // namespace nc
