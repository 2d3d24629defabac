// Vectors of 8 floats or doubles, from one source for every vector level. The compiler's vector types do the arithmetic
// (each operation rounds once, as in scalar code). What they cannot express, such as fused multiply-add and float16
// conversion, is defined per instruction set.
#pragma once

#include "../core/dtype.h"
#include "../core/fp8_scale.h"
#include "../core/reduction_order.h"
#include "../core/row_math.h"
#include "caches.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace nc {
inline namespace NC_LEVEL {

template <class C>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float type __attribute__((vector_size(32)));
};
template <>
struct VectorOf<double> {
  typedef double type __attribute__((vector_size(64)));
};
typedef uint32_t U32x8 __attribute__((vector_size(32)));
typedef int32_t I32x8 __attribute__((vector_size(32)));
typedef uint16_t U16x8 __attribute__((vector_size(16)));
typedef uint8_t U8x8 __attribute__((vector_size(8)));
typedef float F32x4 __attribute__((vector_size(16)));

// Non-temporal store, and the store fence that orders such stores for other threads.
#if defined(__AVX2__)
NC_INLINE void store_non_temporal(char* p, U32x8 v) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), reinterpret_cast<__m256i>(v));
}
NC_INLINE void store_fence() { _mm_sfence(); }
#elif defined(__SSE2__)
NC_INLINE void store_non_temporal(char* p, U32x8 v) {
  __m128i halves[2];
  memcpy(halves, &v, sizeof(v));
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), halves[0]);
  _mm_stream_si128(reinterpret_cast<__m128i*>(p) + 1, halves[1]);
}
NC_INLINE void store_fence() { _mm_sfence(); }
#elif defined(__aarch64__)
NC_INLINE void store_non_temporal(char* p, U32x8 v) {
  uint32x4_t halves[2];
  memcpy(halves, &v, sizeof(v));
  asm volatile("stnp %q0, %q1, [%2]" : : "w"(halves[0]), "w"(halves[1]), "r"(p) : "memory");
}
NC_INLINE void store_fence() {}
#else
NC_INLINE void store_non_temporal(char* p, U32x8 v) { memcpy(p, &v, sizeof(v)); }
NC_INLINE void store_fence() {}
#endif
static_assert(sizeof(U32x8) == kNonTemporalAlignment);

template <class C>
struct Vec8 {
  using Vector = typename VectorOf<C>::type;
  Vector v;

  static NC_INLINE Vec8 all(C c) { return {c - Vector{}}; }
  static NC_INLINE Vec8 zero() { return {Vector{}}; }

  friend NC_INLINE Vec8 operator+(Vec8 a, Vec8 b) { return {a.v + b.v}; }
  friend NC_INLINE Vec8 operator-(Vec8 a, Vec8 b) { return {a.v - b.v}; }
  friend NC_INLINE Vec8 operator*(Vec8 a, Vec8 b) { return {a.v * b.v}; }
  friend NC_INLINE Vec8 operator/(Vec8 a, Vec8 b) { return {a.v / b.v}; }
};

// Per instruction set.

#if defined(__AVX2__)

NC_INLINE Vec8<float> fma(Vec8<float> a, Vec8<float> b, Vec8<float> c) {
  return {reinterpret_cast<VectorOf<float>::type>(
      _mm256_fmadd_ps(reinterpret_cast<__m256>(a.v), reinterpret_cast<__m256>(b.v), reinterpret_cast<__m256>(c.v)))};
}
NC_INLINE bool any_nan(Vec8<float> a, Vec8<float> b) {
  return _mm256_movemask_ps(
             _mm256_cmp_ps(reinterpret_cast<__m256>(a.v), reinterpret_cast<__m256>(b.v), _CMP_UNORD_Q)) != 0;
}
// A NaN becomes a NaN with any payload.
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

#elif defined(__ARM_NEON) && defined(__aarch64__)

struct Quads {
  F32x4 q[2];
};
NC_INLINE Vec8<float> fma(Vec8<float> a, Vec8<float> b, Vec8<float> c) {
  const Quads x = bit_cast<Quads>(a.v), y = bit_cast<Quads>(b.v), z = bit_cast<Quads>(c.v);
  Quads r;
  for (int i = 0; i < 2; ++i) {
    r.q[i] =
        reinterpret_cast<F32x4>(vfmaq_f32(reinterpret_cast<float32x4_t>(z.q[i]), reinterpret_cast<float32x4_t>(x.q[i]),
                                          reinterpret_cast<float32x4_t>(y.q[i])));
  }
  return {bit_cast<VectorOf<float>::type>(r)};
}
NC_INLINE bool any_nan(Vec8<float> a, Vec8<float> b) {
  const Quads nan = bit_cast<Quads>((a.v != a.v) | (b.v != b.v));
  return vmaxvq_u32(vorrq_u32(reinterpret_cast<uint32x4_t>(nan.q[0]), reinterpret_cast<uint32x4_t>(nan.q[1]))) != 0;
}
// A NaN becomes a NaN with any payload.
NC_INLINE U16x8 rounded_float16_bits(Vec8<float> a) {
  const Quads x = bit_cast<Quads>(a.v);
  const float16x4_t low = vcvt_f16_f32(reinterpret_cast<float32x4_t>(x.q[0]));
  const float16x4_t high = vcvt_f16_f32(reinterpret_cast<float32x4_t>(x.q[1]));
  return reinterpret_cast<U16x8>(vreinterpretq_u16_f16(vcombine_f16(low, high)));
}
NC_INLINE U16x8 to_float16_bits(Vec8<float> a) {
  const U16x8 code = rounded_float16_bits(a);
  return ((code & (Float16::sign_bit - 1)) > Float16::infinity) ? (U16x8{} + Float16::quiet_nan) : code;
}
NC_INLINE Vec8<float> from_float16_bits(U16x8 code) {
  const float16x8_t half = vreinterpretq_f16_u16(reinterpret_cast<uint16x8_t>(code));
  Quads r;
  r.q[0] = reinterpret_cast<F32x4>(vcvt_f32_f16(vget_low_f16(half)));
  r.q[1] = reinterpret_cast<F32x4>(vcvt_f32_f16(vget_high_f16(half)));
  return {bit_cast<VectorOf<float>::type>(r)};
}
NC_INLINE U32x8 widened(U16x8 a) { return __builtin_convertvector(a, U32x8); }
NC_INLINE U16x8 low_halves(U32x8 a) { return __builtin_convertvector(a, U16x8); }
NC_INLINE U32x8 widened(U8x8 a) { return __builtin_convertvector(a, U32x8); }
NC_INLINE U8x8 low_bytes(U32x8 a) { return __builtin_convertvector(a, U8x8); }

#else

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

#endif

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

// Conversions.

NC_INLINE Vec8<float> to(Vec8<float> a, float) { return a; }
NC_INLINE Vec8<double> to(Vec8<double> a, double) { return a; }
NC_INLINE Vec8<double> to(Vec8<float> a, double) { return {__builtin_convertvector(a.v, VectorOf<double>::type)}; }
NC_INLINE Vec8<float> to(Vec8<double> a, float) { return {__builtin_convertvector(a.v, VectorOf<float>::type)}; }

NC_INLINE U16x8 to_bfloat16_bits(Vec8<float> a) {
  const U32x8 code = bfloat16_round_bits(reinterpret_cast<U32x8>(a.v)) >> 16;
  return low_halves((a.v != a.v) ? (U32x8{} + Bfloat16::quiet_nan) : code);
}
NC_INLINE Vec8<float> from_bfloat16_bits(U16x8 code) {
  return {reinterpret_cast<VectorOf<float>::type>(widened(code) << 16)};
}

// From double in one rounding, by the scalar code: float64 compute is for accuracy, not speed.
template <class Format>
inline NC_NOINLINE U16x8 to_half_bits(Vec8<double> a) {
  U16x8 r{};
  for (int i = 0; i < kVecWidth; ++i) r[i] = static_cast<uint16_t>(encode<Format>(a.v[i]));
  return r;
}
NC_INLINE U16x8 to_bfloat16_bits(Vec8<double> a) { return to_half_bits<Bfloat16>(a); }
NC_INLINE U16x8 to_float16_bits(Vec8<double> a) { return to_half_bits<Float16>(a); }

template <>
struct Rounding<Vec8<float>> {
  static NC_INLINE Vec8<float> float32(Vec8<float> a) { return a; }
  static NC_INLINE Vec8<float> bfloat16(Vec8<float> a) {
    const U32x8 rounded = bfloat16_round_bits(reinterpret_cast<U32x8>(a.v)) >> 16 << 16;
    const U32x8 nan = U32x8{} + (Bfloat16::quiet_nan << 16);
    return {reinterpret_cast<VectorOf<float>::type>((a.v != a.v) ? nan : rounded)};
  }
  static NC_INLINE Vec8<float> float16(Vec8<float> a) { return from_float16_bits(to_float16_bits(a)); }
};
template <>
struct Rounding<Vec8<double>> {
  static NC_INLINE Vec8<double> float32(Vec8<double> a) { return to(to(a, 0.0f), 0.0); }
  static NC_INLINE Vec8<double> bfloat16(Vec8<double> a) { return to(from_bfloat16_bits(to_bfloat16_bits(a)), 0.0); }
  static NC_INLINE Vec8<double> float16(Vec8<double> a) { return to(from_float16_bits(to_float16_bits(a)), 0.0); }
};

// Memory.

// The format of the compute type: sums and partial sums.
template <class C>
struct ComputeFormat;
template <>
struct ComputeFormat<float> : StaticFormat<DType::float32> {};
template <>
struct ComputeFormat<double> : StaticFormat<DType::float64> {};

// Extent of a vector: all 8 elements, or the first `count` at the end of a row.
struct FullVec {
  static constexpr bool full = true;
  static constexpr int count = kVecWidth;
};
struct PartialVec {
  static constexpr bool full = false;
  int count;
};

// Prefetches into L2; L1 is too small.
template <int Bytes>
NC_INLINE void prefetch(const char* p) {
  constexpr int line = 64;
#pragma GCC unroll 16
  for (int i = 0; i < Bytes; i += line) __builtin_prefetch(p + i, 0, 2);
}

template <class Raw>
NC_INLINE Raw load_raw(const char* p) {
  Raw raw;
  memcpy(&raw, p, sizeof(raw));
  return raw;
}

// Elements first .. first + 7 of a row, converted to C. Elements beyond the extent are 0 and are not read.
template <class C, class Extent>
NC_INLINE Vec8<C> load_as(DType type, const char* row, int64_t first, Extent extent) {
  const int width = bytes_of(type);
  const char* p = row + first * width;
  alignas(64) char tail[64];
  if constexpr (!Extent::full) {
    memset(tail, 0, sizeof(tail));
    memcpy(tail, p, static_cast<size_t>(extent.count * width));
    p = tail;
  } else {
    (void)extent;
    (void)tail;
  }
  switch (type) {
    case DType::float64:
      return to(Vec8<double>{load_raw<VectorOf<double>::type>(p)}, C{});
    case DType::float32:
      return to(Vec8<float>{load_raw<VectorOf<float>::type>(p)}, C{});
    case DType::bfloat16:
      return to(from_bfloat16_bits(load_raw<U16x8>(p)), C{});
    default:
      return to(from_float16_bits(load_raw<U16x8>(p)), C{});
  }
}

// A static format is inlined to a few instructions; a runtime format is a call.
template <class C, DType T, class Extent>
NC_INLINE Vec8<C> load(StaticFormat<T>, const char* row, int64_t first, Extent extent) {
  return load_as<C>(T, row, first, extent);
}
template <class C, class Extent>
inline NC_NOINLINE Vec8<C> load(RuntimeFormat format, const char* row, int64_t first, Extent extent) {
  return load_as<C>(format.type, row, first, extent);
}

// Stores rd_T(v).
template <class C, class Extent>
NC_INLINE void store_as(DType type, char* row, int64_t first, Extent extent, Vec8<C> v) {
  const int width = bytes_of(type);
  char* p = row + first * width;
  alignas(64) char tail[64];
  char* to_write = Extent::full ? p : tail;
  switch (type) {
    case DType::float64: {
      const Vec8<double> wide = to(v, 0.0);
      memcpy(to_write, &wide.v, 64);
      break;
    }
    case DType::float32: {
      const Vec8<float> single = to(v, 0.0f);
      memcpy(to_write, &single.v, 32);
      break;
    }
    case DType::bfloat16: {
      const U16x8 code = to_bfloat16_bits(v);
      memcpy(to_write, &code, 16);
      break;
    }
    default: {
      const U16x8 code = to_float16_bits(v);
      memcpy(to_write, &code, 16);
      break;
    }
  }
  if constexpr (!Extent::full) memcpy(p, tail, static_cast<size_t>(extent.count * width));
}

template <class C, DType T, class Extent>
NC_INLINE void store(StaticFormat<T>, char* row, int64_t first, Extent extent, Vec8<C> v) {
  store_as(T, row, first, extent, v);
}
template <class C, class Extent>
inline NC_NOINLINE void store(RuntimeFormat format, char* row, int64_t first, Extent extent, Vec8<C> v) {
  store_as(format.type, row, first, extent, v);
}

// FP8.

template <class Format>
NC_INLINE U8x8 to_float8_bits(Vec8<float> a) {
  return low_bytes(float8_bits<Format, U32x8>(a.v));
}
template <class Format>
inline NC_NOINLINE U8x8 to_float8_bits(Vec8<double> a) {
  U8x8 r{};
  for (int i = 0; i < kVecWidth; ++i) r[i] = static_cast<uint8_t>(encode<Format>(a.v[i]));
  return r;
}
template <class C>
NC_INLINE U8x8 to_float8_bits(DType format, Vec8<C> a) {
  return format == DType::float8_e4m3 ? to_float8_bits<Float8E4m3>(a) : to_float8_bits<Float8E5m2>(a);
}
NC_INLINE Vec8<float> from_float8_bits(DType format, U8x8 code) {
  using V = VectorOf<float>::type;
  const U32x8 wide = widened(code);
  return {format == DType::float8_e4m3 ? float8_value<Float8E4m3, V>(wide) : float8_value<Float8E5m2, V>(wide)};
}

// Elements first .. first + 7 of a row of FP8.
template <class C, class Extent>
NC_INLINE void store_float8(DType format, char* row, int64_t first, Extent extent, Vec8<C> v) {
  const U8x8 code = to_float8_bits(format, v);
  memcpy(row + first, &code, static_cast<size_t>(extent.count));
}
template <class Extent>
NC_INLINE Vec8<float> load_float8(DType format, const char* row, int64_t first, Extent extent) {
  U8x8 code{};
  memcpy(&code, row + first, static_cast<size_t>(extent.count));
  return from_float8_bits(format, code);
}

// |a|; a NaN stays NaN.
NC_INLINE Vec8<float> magnitude(Vec8<float> a) {
  return {reinterpret_cast<VectorOf<float>::type>(reinterpret_cast<U32x8>(a.v) & 0x7fffffffu)};
}
NC_INLINE Vec8<double> magnitude(Vec8<double> a) { return {a.v < 0 ? -a.v : a.v}; }

// Elementwise maximum; a NaN in v is ignored.
template <class C>
NC_INLINE Vec8<C> larger(Vec8<C> a, Vec8<C> v) {
  return {v.v > a.v ? v.v : a.v};
}
template <class C>
NC_INLINE Vec8<C> larger_magnitude(Vec8<C> amax, Vec8<C> v) {
  return larger(amax, magnitude(v));
}
template <class C>
NC_INLINE C max_position(Vec8<C> amax) {
  using Vector = typename Vec8<C>::Vector;
  const Vector v = amax.v;
  amax = larger(amax, Vec8<C>{__builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3)});
  const Vector four = amax.v;
  amax = larger(amax, Vec8<C>{__builtin_shufflevector(four, four, 2, 3, 0, 1, 6, 7, 4, 5)});
  return amax.v[0] > amax.v[1] ? amax.v[0] : amax.v[1];
}

// Atomic maximum of non-negative float32: their bits, as integers, have the same order.
NC_INLINE void atomic_max(char* address, float to) {
  uint32_t* const bits = reinterpret_cast<uint32_t*>(address);
  const uint32_t wanted = bit_cast<uint32_t>(to);
  uint32_t present = __atomic_load_n(bits, __ATOMIC_RELAXED);
  while (present < wanted &&
         !__atomic_compare_exchange_n(bits, &present, wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

// v inside the extent, `otherwise` beyond it.
template <class C>
NC_INLINE Vec8<C> where_present(FullVec, Vec8<C> v, Vec8<C>) {
  return v;
}
template <class C>
NC_INLINE Vec8<C> where_present(PartialVec partial, Vec8<C> v, Vec8<C> otherwise) {
  for (int i = partial.count; i < kVecWidth; ++i) v.v[i] = otherwise.v[i];
  return v;
}

// Calls f(first, extent) for every vector of a row of n elements, in order.
template <class F>
NC_INLINE void for_each_vec(int64_t n, F f) {
  int64_t first = 0;
  for (; first + kVecWidth <= n; first += kVecWidth) f(first, FullVec{});
  if (first < n) f(first, PartialVec{static_cast<int>(n - first)});
}

// Horizontal sums, by halving.

template <class C>
NC_INLINE C sum_of_positions(Vec8<C> a) {
  const C s0 = a.v[0] + a.v[4], s1 = a.v[1] + a.v[5], s2 = a.v[2] + a.v[6], s3 = a.v[3] + a.v[7];
  return (s0 + s2) + (s1 + s3);
}

// Loads the first `bytes` of 32, an even number. The others are 0 and are not read.
#if defined(__AVX2__)
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
#else
NC_INLINE U32x8 load_bytes(const char* p, int64_t bytes) {
  alignas(32) char all[32] = {};
  memcpy(all, p, static_cast<size_t>(bytes));
  return load_raw<U32x8>(all);
}
#endif

// Intermediate values: see round_intermediate in core/dtype.h.

// For canonical NaNs only: rounding could carry the low bits of another NaN into its sign.
NC_INLINE Vec8<float> round_intermediate(StaticFormat<DType::bfloat16>, Vec8<float> a) {
  return {reinterpret_cast<VectorOf<float>::type>(bfloat16_round_bits(reinterpret_cast<U32x8>(a.v)) & 0xffff0000u)};
}
NC_INLINE Vec8<float> round_intermediate(StaticFormat<DType::float16>, Vec8<float> a) {
  return from_float16_bits(rounded_float16_bits(a));
}
NC_INLINE Vec8<float> with_canonical_nan(Vec8<float> a) {
  const U32x8 nan = U32x8{} + 0x7fc00000u;
  return {reinterpret_cast<VectorOf<float>::type>((a.v != a.v) ? nan : reinterpret_cast<U32x8>(a.v))};
}

// Eight pairs.
struct Pairs {
  Vec8<float> x1, x2;
};

// Pairs of neighbours: elements 2 first .. 2 first + 15 of a row. The extent counts pairs.
template <DType T, class Extent>
NC_INLINE Pairs load_neighbours(StaticFormat<T>, const char* row, int64_t first, Extent extent) {
  constexpr int width = 2 * bytes_of(T);
  const char* p = row + first * width;
  alignas(64) char tail[kVecWidth * width];
  if constexpr (!Extent::full) {
    memset(tail, 0, sizeof(tail));
    memcpy(tail, p, static_cast<size_t>(extent.count * width));
    p = tail;
  } else {
    (void)extent;
    (void)tail;
  }
  if constexpr (T == DType::float32) {
    const auto low = load_raw<VectorOf<float>::type>(p), high = load_raw<VectorOf<float>::type>(p + sizeof(low));
    return {{__builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14)},
            {__builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15)}};
  } else {
    // A pair is a 32-bit word; its first element is the lower half.
    const U32x8 words = load_raw<U32x8>(p);
    if constexpr (T == DType::bfloat16) {
      return {{reinterpret_cast<VectorOf<float>::type>(words << 16)},
              {reinterpret_cast<VectorOf<float>::type>(words & 0xffff0000u)}};
    } else {
      return {from_float16_bits(low_halves(words & 0xffffu)), from_float16_bits(low_halves(words >> 16))};
    }
  }
}
template <DType T, class Extent>
NC_INLINE void store_neighbours(StaticFormat<T>, char* row, int64_t first, Extent extent, Pairs p) {
  constexpr int width = 2 * bytes_of(T);
  alignas(64) char tail[kVecWidth * width];
  char* const at = row + first * width;
  char* const to_write = Extent::full ? at : tail;
  if constexpr (T == DType::float32) {
    const auto low = __builtin_shufflevector(p.x1.v, p.x2.v, 0, 8, 1, 9, 2, 10, 3, 11);
    const auto high = __builtin_shufflevector(p.x1.v, p.x2.v, 4, 12, 5, 13, 6, 14, 7, 15);
    memcpy(to_write, &low, sizeof(low));
    memcpy(to_write + sizeof(low), &high, sizeof(high));
  } else if constexpr (T == DType::bfloat16) {
    const U32x8 words = (reinterpret_cast<U32x8>(Rounding<Vec8<float>>::bfloat16(p.x1).v) >> 16) |
                        reinterpret_cast<U32x8>(Rounding<Vec8<float>>::bfloat16(p.x2).v);
    memcpy(to_write, &words, sizeof(words));
  } else {
    const U16x8 one = to_float16_bits(p.x1), other = to_float16_bits(p.x2);
    const U16x8 low = __builtin_shufflevector(one, other, 0, 8, 1, 9, 2, 10, 3, 11);
    const U16x8 high = __builtin_shufflevector(one, other, 4, 12, 5, 13, 6, 14, 7, 15);
    memcpy(to_write, &low, sizeof(low));
    memcpy(to_write + sizeof(low), &high, sizeof(high));
  }
  if constexpr (!Extent::full) memcpy(at, tail, static_cast<size_t>(extent.count * width));
}

}  // namespace NC_LEVEL
}  // namespace nc
