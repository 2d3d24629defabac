// The operations of simd.h in plain C++.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace nc {
inline namespace NC_LEVEL {

inline NC_NOINLINE Vec8<float> fma(Vec8<float> a, Vec8<float> b, Vec8<float> c) {
  Vec8<float> r = a;
  for (int i = 0; i < kVecWidth; ++i) r.v[i] = fma(a.v[i], b.v[i], c.v[i]);
  return r;
}
inline NC_NOINLINE U16x8 to_float16_bits(Vec8<float> a) {
  U16x8 r{};
  for (int i = 0; i < kVecWidth; ++i) r[i] = static_cast<uint16_t>(encode_float16(a.v[i]));
  return r;
}
NC_INLINE bool any_nan(Vec8<float> a, Vec8<float> b) {
  const I32x8 nan = (a.v != a.v) | (b.v != b.v);
  int32_t any = 0;
  for (int i = 0; i < kVecWidth; ++i) any |= nan[i];
  return any != 0;
}
NC_INLINE U16x8 rounded_float16_bits(Vec8<float> a) { return to_float16_bits(a); }
inline NC_NOINLINE Vec8<float> from_float16_bits(U16x8 code) {
  Vec8<float> r{};
  for (int i = 0; i < kVecWidth; ++i) r.v[i] = decode<Float16>(code[i]);
  return r;
}
NC_INLINE U32x8 widened(U16x8 a) { return __builtin_convertvector(a, U32x8); }
NC_INLINE U16x8 low_halves(U32x8 a) { return __builtin_convertvector(a, U16x8); }
NC_INLINE U32x8 widened(U8x8 a) { return __builtin_convertvector(a, U32x8); }
NC_INLINE U8x8 low_bytes(U32x8 a) { return __builtin_convertvector(a, U8x8); }
NC_INLINE Vec8<double> fma(Vec8<double> a, Vec8<double> b, Vec8<double> c) {
  Vec8<double> r = a;
  for (int i = 0; i < kVecWidth; ++i) r.v[i] = fma(a.v[i], b.v[i], c.v[i]);
  return r;
}

#if defined(__SSE2__)
NC_INLINE void store_non_temporal(char* p, U32x8 v) {
  __m128i halves[2];
  memcpy(halves, &v, sizeof(v));
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), halves[0]);
  _mm_stream_si128(reinterpret_cast<__m128i*>(p) + 1, halves[1]);
}
NC_INLINE void store_fence() { _mm_sfence(); }
#else
NC_INLINE void store_non_temporal(char* p, U32x8 v) { memcpy(p, &v, sizeof(v)); }
NC_INLINE void store_fence() {}
#endif

NC_INLINE U32x8 load_bytes(const char* p, int64_t bytes) {
  alignas(32) char all[32] = {};
  memcpy(all, p, static_cast<size_t>(bytes));
  return load_raw<U32x8>(all);
}

}  // namespace NC_LEVEL
}  // namespace nc
