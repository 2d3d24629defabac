// FP8 codes and largest magnitudes of vectors.
#pragma once

#include "../core/fp8_scale.h"
#include "vec8.h"

namespace nc {
inline namespace NC_LEVEL {

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

}  // namespace NC_LEVEL
}  // namespace nc
