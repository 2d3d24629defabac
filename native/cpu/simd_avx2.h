// The operations of simd.h for AVX2 with FMA and F16C, and for AVX-512.
#pragma once

#include <immintrin.h>

namespace nc {
inline namespace NC_LEVEL {

NC_INLINE Vec8<float> fma(Vec8<float> a, Vec8<float> b, Vec8<float> c) {
  return {reinterpret_cast<VectorOf<float>::type>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a.v), reinterpret_cast<__m256>(b.v), reinterpret_cast<__m256>(c.v)))};
}
NC_INLINE bool any_nan(Vec8<float> a, Vec8<float> b) {
  return _mm256_movemask_ps(
             _mm256_cmp_ps(reinterpret_cast<__m256>(a.v), reinterpret_cast<__m256>(b.v), _CMP_UNORD_Q)) != 0;
}
NC_INLINE U16x8 rounded_float16_bits(Vec8<float> a) {
  return reinterpret_cast<U16x8>(_mm256_cvtps_ph(reinterpret_cast<__m256>(a.v), _MM_FROUND_TO_NEAREST_INT));
}
NC_INLINE U16x8 to_float16_bits(Vec8<float> a) {
  const __m128i code = reinterpret_cast<__m128i>(rounded_float16_bits(a));
  // The hardware keeps a NaN's payload; replace it by the canonical NaN.
  const __m128i magnitude = _mm_and_si128(code, _mm_set1_epi16(Float16::sign_bit - 1));
  const __m128i nan = _mm_cmpgt_epi16(magnitude, _mm_set1_epi16(Float16::infinity));
  return reinterpret_cast<U16x8>(_mm_blendv_epi8(code, _mm_set1_epi16(Float16::quiet_nan), nan));
}
NC_INLINE Vec8<float> from_float16_bits(U16x8 code) {
  return {reinterpret_cast<VectorOf<float>::type>(_mm256_cvtph_ps(reinterpret_cast<__m128i>(code)))};
}
NC_INLINE U32x8 widened(U16x8 a) {
  return reinterpret_cast<U32x8>(_mm256_cvtepu16_epi32(reinterpret_cast<__m128i>(a)));
}
NC_INLINE U16x8 low_halves(U32x8 a) {
  // The values fit 16 bits, so the pack never saturates.
  const __m256i v = reinterpret_cast<__m256i>(a);
  return reinterpret_cast<U16x8>(_mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1)));
}
NC_INLINE U32x8 widened(U8x8 a) {
  return reinterpret_cast<U32x8>(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(bit_cast<int64_t>(a))));
}
NC_INLINE U8x8 low_bytes(U32x8 a) {
  const __m128i halves = reinterpret_cast<__m128i>(low_halves(a));
  return bit_cast<U8x8>(_mm_cvtsi128_si64(_mm_packus_epi16(halves, halves)));
}
NC_INLINE Vec8<double> fma(Vec8<double> a, Vec8<double> b, Vec8<double> c) {
#if defined(__AVX512F__)
  return {reinterpret_cast<VectorOf<double>::type>(
      _mm512_fmadd_pd(reinterpret_cast<__m512d>(a.v), reinterpret_cast<__m512d>(b.v), reinterpret_cast<__m512d>(c.v)))};
#else
  Vec8<double> r = a;
  for (int i = 0; i < kVecWidth; ++i) r.v[i] = fma(a.v[i], b.v[i], c.v[i]);
  return r;
#endif
}

NC_INLINE void store_non_temporal(char* p, U32x8 v) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(v));
}
NC_INLINE void store_fence() { _mm_sfence(); }

NC_INLINE I32x8 whole_words(int64_t bytes) {
  const I32x8 ends = {4, 8, 12, 16, 20, 24, 28, 32};
  return ends <= static_cast<int32_t>(bytes);
}
NC_INLINE U32x8 load_bytes(const char* p, int64_t bytes) {
  U32x8 words = reinterpret_cast<U32x8>(
      _mm256_maskload_epi32(reinterpret_cast<const int*>(p), reinterpret_cast<__m256i>(whole_words(bytes))));
  if ((bytes & 2) != 0) {
    const I32x8 begins = {0, 4, 8, 12, 16, 20, 24, 28};
    const U32x8 last = U32x8{} + load_raw<uint16_t>(p + bytes - 2);
    words |= reinterpret_cast<U32x8>(begins == static_cast<int32_t>(bytes) - 2) & last;
  }
  return words;
}

}  // namespace NC_LEVEL
}  // namespace nc
