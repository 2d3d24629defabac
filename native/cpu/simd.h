// Vectors of 8 floats or doubles and the operations that the compiler's vector types cannot express, defined per
// instruction set: fused multiply-add, float16 conversion, narrowing, non-temporal stores.
#pragma once

#include "../core/dtype.h"
#include "../core/reduction_order.h"
#include "caches.h"

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

template <class Raw>
NC_INLINE Raw load_raw(const char* p) {
  Raw raw;
  memcpy(&raw, p, sizeof(raw));
  return raw;
}

}  // namespace NC_LEVEL
}  // namespace nc

// Each header defines:
//
//   fma(a, b, c)               a * b + c with one rounding
//   any_nan(a, b)              whether any element of a or b is a NaN
//   rounded_float16_bits(a)    rounds to float16; a NaN becomes a NaN with any payload
//   to_float16_bits(a)         the same with the canonical NaN
//   from_float16_bits(code)
//   widened(a)                 from 8 or 16 bits to 32
//   low_halves(a), low_bytes(a)  the low 16 or 8 bits of values that fit them
//   load_bytes(p, bytes)       the first `bytes` of 32, an even number; the others are 0 and are not read
//   store_non_temporal(p, v)   at a multiple of kNonTemporalAlignment
//   store_fence()              orders non-temporal stores for other threads
#if defined(__AVX2__)
#include "simd_avx2.h"
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include "simd_neon.h"
#else
#include "simd_portable.h"
#endif

namespace nc {
inline namespace NC_LEVEL {
static_assert(sizeof(U32x8) == kNonTemporalAlignment);
}
}  // namespace nc
