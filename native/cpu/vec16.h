// Sixteen elements of a row as two vectors of float32, the unit of the kernels with static formats.
//
// bfloat16 rows are split into even and odd elements: a shift and a mask unpack 32 bytes into two vectors, and a shift,
// a mask and an or pack them, without a shuffle. Elementwise code is independent of the order; sums over positions have
// a version for each order.
#pragma once

#include <type_traits>

#include "vec8.h"

namespace nc {
inline namespace NC_LEVEL {

// natural: elements 0 .. 7 and 8 .. 15; even_odd: 0, 2, .. 14 and 1, 3, .. 15.
enum class Order { natural, even_odd };

typedef uint16_t U16x16 __attribute__((vector_size(32)));

template <Order O>
struct Vec16 {
  Vec8<float> a, b;

  static NC_INLINE Vec16 all(float v) { return {Vec8<float>::all(v), Vec8<float>::all(v)}; }
  static NC_INLINE Vec16 zero() { return {Vec8<float>::zero(), Vec8<float>::zero()}; }

  friend NC_INLINE Vec16 operator+(Vec16 x, Vec16 y) { return {x.a + y.a, x.b + y.b}; }
  friend NC_INLINE Vec16 operator-(Vec16 x, Vec16 y) { return {x.a - y.a, x.b - y.b}; }
  friend NC_INLINE Vec16 operator*(Vec16 x, Vec16 y) { return {x.a * y.a, x.b * y.b}; }
};
template <Order O>
NC_INLINE Vec16<O> fma(Vec16<O> x, Vec16<O> y, Vec16<O> z) {
  return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)};
}

template <Order O>
struct Rounding<Vec16<O>> {
  using R = Rounding<Vec8<float>>;
  static NC_INLINE Vec16<O> float32(Vec16<O> v) { return v; }
  static NC_INLINE Vec16<O> bfloat16(Vec16<O> v) { return {R::bfloat16(v.a), R::bfloat16(v.b)}; }
  static NC_INLINE Vec16<O> float16(Vec16<O> v) { return {R::float16(v.a), R::float16(v.b)}; }
};
template <DType T, Order O, class = std::enable_if_t<T == DType::bfloat16 || T == DType::float16>>
NC_INLINE Vec16<O> round_intermediate(StaticFormat<T> format, Vec16<O> v) {
  return {round_intermediate(format, v.a), round_intermediate(format, v.b)};
}

// The extent of sixteen elements inside a row.
template <Order O>
struct Full16 {
  static constexpr bool full = true;
  static constexpr int count = 2 * kVecWidth;
};
template <class Extent>
constexpr bool kIsFull16 = false;
template <Order O>
constexpr bool kIsFull16<Full16<O>> = true;
template <Order O>
NC_INLINE Vec16<O> where_present(Full16<O>, Vec16<O> v, Vec16<O>) {
  return v;
}

// The first `count` of sixteen elements, at the end of a row. Loads fill the others with 0 and do not read them.
template <Order O>
struct Partial16 {
  int64_t count;
};
template <Order O>
NC_INLINE Vec16<O> where_present(Partial16<O> tail, Vec16<O> v, Vec16<O> otherwise) {
  const int32_t count = static_cast<int32_t>(tail.count);
  const I32x8 low = {0, 1, 2, 3, 4, 5, 6, 7}, even = {0, 2, 4, 6, 8, 10, 12, 14};
  const I32x8 a = O == Order::natural ? low : even, b = O == Order::natural ? low + 8 : even + 1;
  return {{a < count ? v.a.v : otherwise.a.v}, {b < count ? v.b.v : otherwise.b.v}};
}

// Conversion between natural and even-odd order.
NC_INLINE Vec16<Order::even_odd> apart(Vec8<float> low, Vec8<float> high) {
  return {{__builtin_shufflevector(low.v, high.v, 0, 2, 4, 6, 8, 10, 12, 14)},
          {__builtin_shufflevector(low.v, high.v, 1, 3, 5, 7, 9, 11, 13, 15)}};
}
NC_INLINE Vec16<Order::natural> natural(Vec16<Order::natural> v) { return v; }
NC_INLINE Vec16<Order::natural> natural(Vec16<Order::even_odd> v) {
  return {{__builtin_shufflevector(v.a.v, v.b.v, 0, 8, 1, 9, 2, 10, 3, 11)},
          {__builtin_shufflevector(v.a.v, v.b.v, 4, 12, 5, 13, 6, 14, 7, 15)}};
}

NC_INLINE U32x8 bits_of(Vec8<float> v) { return reinterpret_cast<U32x8>(v.v); }
NC_INLINE Vec8<float> vec8_of(U32x8 bits) { return {reinterpret_cast<VectorOf<float>::type>(bits)}; }

template <Order O>
NC_INLINE Vec16<O> in_order(Vec8<float> low, Vec8<float> high) {
  if constexpr (O == Order::even_odd) {
    return apart(low, high);
  } else {
    return {low, high};
  }
}
// Unpacks sixteen 16-bit elements.
template <DType T, Order O>
NC_INLINE Vec16<O> unpacked(U32x8 words) {
  if constexpr (O == Order::even_odd && T == DType::bfloat16) {
    return {vec8_of(words << 16), vec8_of(words & 0xffff0000u)};
  } else {
    const auto halves = reinterpret_cast<U16x16>(words);
    const U16x8 low = __builtin_shufflevector(halves, halves, 0, 1, 2, 3, 4, 5, 6, 7);
    const U16x8 high = __builtin_shufflevector(halves, halves, 8, 9, 10, 11, 12, 13, 14, 15);
    if constexpr (T == DType::bfloat16) return in_order<O>(from_bfloat16_bits(low), from_bfloat16_bits(high));
    return in_order<O>(from_float16_bits(low), from_float16_bits(high));
  }
}

template <class C, DType T, Order O>
NC_INLINE Vec16<O> load(StaticFormat<T> format, const char* row, int64_t first, Full16<O>) {
  static_assert(std::is_same<C, float>::value);
  if constexpr (O == Order::even_odd && T == DType::bfloat16) {
    return unpacked<T, O>(load_raw<U32x8>(row + first * 2));
  } else {
    return in_order<O>(load<C>(format, row, first, FullVec{}), load<C>(format, row, first + kVecWidth, FullVec{}));
  }
}
template <class C, DType T, Order O>
NC_INLINE Vec16<O> load(StaticFormat<T>, const char* row, int64_t first, Partial16<O> tail) {
  const char* const p = row + first * bytes_of(T);
  if constexpr (T == DType::float32) {
    const int64_t low = tail.count < kVecWidth ? tail.count : kVecWidth;
    return in_order<O>(vec8_of(load_bytes(p, 4 * low)), vec8_of(load_bytes(p + 32, 4 * (tail.count - low))));
  } else {
    return unpacked<T, O>(load_bytes(p, 2 * tail.count));
  }
}

// Calls write(byte offset, 32 bytes) with the bytes of rd_T(v).
template <DType T, Order O, class Write>
NC_INLINE void packed(Vec16<O> v, Write write) {
  if constexpr (T == DType::float32) {
    const Vec16<Order::natural> ordered = natural(v);
    write(0, bits_of(ordered.a));
    write(32, bits_of(ordered.b));
    return;
  }
  // Testing sixteen elements for NaN at once is cheaper than a select for each.
  if (__builtin_expect(any_nan(v.a, v.b), 0)) v = {with_canonical_nan(v.a), with_canonical_nan(v.b)};
  if constexpr (T == DType::bfloat16 && O == Order::even_odd) {
    write(0, (bfloat16_round_bits(bits_of(v.a)) >> 16) | (bfloat16_round_bits(bits_of(v.b)) & 0xffff0000u));
  } else if constexpr (T != DType::float32) {
    const Vec16<Order::natural> ordered = natural(v);
    const auto rounded = [](Vec8<float> eight) NC_LAMBDA_INLINE -> U16x8 {
      if constexpr (T == DType::bfloat16) return low_halves(bfloat16_round_bits(bits_of(eight)) >> 16);
      return rounded_float16_bits(eight);
    };
    write(0, reinterpret_cast<U32x8>(__builtin_shufflevector(rounded(ordered.a), rounded(ordered.b), 0, 1, 2, 3, 4, 5,
                                                             6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
  }
}

// Stores rd_T(v). streams: non-temporal stores, to an address that is a multiple of kNonTemporalAlignment.
template <DType T, Order O>
NC_INLINE void store(StaticFormat<T>, char* row, int64_t first, Full16<O>, Vec16<O> v, bool non_temporal = false) {
  char* const p = row + first * bytes_of(T);
  packed<T>(v, [=](int offset, U32x8 bits) NC_LAMBDA_INLINE {
    if (non_temporal) {
      store_non_temporal(p + offset, bits);
    } else {
      memcpy(p + offset, &bits, sizeof(bits));
    }
  });
}

// Calls f(first) for elements begin .. end - 1 of a row, sixteen at a time, and ahead(first) before each
// kPrefetchElements. There must be at least sixteen elements. If their number is not a multiple of sixteen, the last
// sixteen overlap others: begin_last reads them before all others and end_last writes them after, so that outputs may
// be in place.
constexpr int kPrefetchElements = 128;
template <class F, class PrefetchNext, class BeginLast, class EndLast>
NC_INLINE void for_each_vec16(int64_t begin, int64_t end, PrefetchNext prefetch_next, F f, BeginLast begin_last,
                              EndLast end_last) {
  constexpr int64_t count = 2 * kVecWidth;
  const bool odd = (end - begin) % count != 0;
  if (odd) begin_last(end - count);
  int64_t first = begin;
  for (; first + kPrefetchElements <= end; first += kPrefetchElements) {
    prefetch_next(first);
    for (int64_t i = 0; i < kPrefetchElements; i += count) f(first + i);
  }
  for (; first + count <= end; first += count) f(first);
  if (odd) end_last(end - count);
}

// The same for one Vec16 per sixteen elements: use(first, value(first), whole). whole is false for the overlapping
// last.
template <class PrefetchNext, class Value, class Use>
NC_INLINE void for_each_vec16(int64_t begin, int64_t end, PrefetchNext prefetch_next, Value value, Use use) {
  auto last = decltype(value(begin))::zero();
  for_each_vec16(
      begin, end, prefetch_next, [&](int64_t first) NC_LAMBDA_INLINE { use(first, value(first), true); },
      [&](int64_t first) NC_LAMBDA_INLINE { last = value(first); },
      [&](int64_t first) NC_LAMBDA_INLINE { use(first, last, false); });
}

// Halving sums over the positions of eight lanes, held in four Duos: sums_of_four takes four lanes, sums_of_eight
// combines two such results. The shuffles leave the sums in lane order 0, 2, 4, 6, 1, 3, 5, 7.
NC_INLINE Vec8<float> sum_pairs(Vec8<float> a, Vec8<float> b) {
  return {__builtin_shufflevector(a.v, b.v, 0, 1, 8, 9, 4, 5, 12, 13) +
          __builtin_shufflevector(a.v, b.v, 2, 3, 10, 11, 6, 7, 14, 15)};
}
NC_INLINE Vec8<float> sum_neighbours(Vec8<float> a, Vec8<float> b) {
  return {__builtin_shufflevector(a.v, b.v, 0, 2, 8, 10, 4, 6, 12, 14) +
          __builtin_shufflevector(a.v, b.v, 1, 3, 9, 11, 5, 7, 13, 15)};
}
NC_INLINE Vec8<float> sum_halves(Vec8<float> a, Vec8<float> b) {
  return {__builtin_shufflevector(a.v, b.v, 0, 1, 2, 3, 8, 9, 10, 11) +
          __builtin_shufflevector(a.v, b.v, 4, 5, 6, 7, 12, 13, 14, 15)};
}

NC_INLINE Vec8<float> sums_of_four(Vec16<Order::natural> lanes01, Vec16<Order::natural> lanes23) {
  return sum_pairs(sum_halves(lanes01.a, lanes01.b), sum_halves(lanes23.a, lanes23.b));
}
NC_INLINE Vec8<float> sums_of_eight(Vec8<float> lanes0123, Vec8<float> lanes4567) {
  return sum_neighbours(lanes0123, lanes4567);
}
NC_INLINE Vec16<Order::even_odd> sums_of_four(Vec16<Order::even_odd> lanes01, Vec16<Order::even_odd> lanes23) {
  return {sum_pairs(lanes01.a, lanes23.a), sum_pairs(lanes01.b, lanes23.b)};
}
NC_INLINE Vec8<float> sums_of_eight(Vec16<Order::even_odd> lanes0123, Vec16<Order::even_odd> lanes4567) {
  return sum_neighbours(lanes0123.a, lanes4567.a) + sum_neighbours(lanes0123.b, lanes4567.b);
}

// The halving sum of eight lanes in that order, of one row and of eight rows at once.
NC_INLINE float sum_of_lanes(Vec8<float> a) {
  return ((a.v[0] + a.v[2]) + (a.v[1] + a.v[3])) + ((a.v[4] + a.v[6]) + (a.v[5] + a.v[7]));
}
NC_INLINE Vec8<float> sums_of_lanes(const Vec8<float> (&rows)[kVecWidth]) {
  const Vec8<float> rows0123 = sum_neighbours(sum_pairs(rows[0], rows[1]), sum_pairs(rows[2], rows[3]));
  const Vec8<float> rows4567 = sum_neighbours(sum_pairs(rows[4], rows[5]), sum_pairs(rows[6], rows[7]));
  return sum_halves(rows0123, rows4567);
}

}  // namespace NC_LEVEL
}  // namespace nc
