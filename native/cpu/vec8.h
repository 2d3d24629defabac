// Vectors of 8 floats or doubles, from one source for every vector level. The compiler's vector types do the
// arithmetic: each operation rounds once, as in scalar code. simd.h has what depends on the instruction set.
#pragma once

#include <type_traits>

#include "../core/row_math.h"
#include "simd.h"

namespace nc {
inline namespace NC_LEVEL {

// A static format, or the runtime format of this type.
template <class Format>
NC_INLINE Format format_of(DType dtype) {
  if constexpr (std::is_same<Format, RuntimeFormat>::value) {
    return {dtype};
  } else {
    return {};
  }
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

}  // namespace NC_LEVEL
}  // namespace nc
