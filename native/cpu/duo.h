// Sixteen elements of a row at a time, as two packets of float32: what the kernels with static formats compute on.
//
// Rows of bfloat16 are taken apart into even and odd elements: a shift and a mask make two packets of 32 bytes, another
// shift, mask and or put them back, without a shuffle. What is done element by element need not know of it; sums by
// position find each position where it is.
#pragma once

#include <type_traits>

#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {

// natural: elements 0 .. 7 and 8 .. 15; even_odd: 0, 2, .. 14 and 1, 3, .. 15.
enum class Order { natural, even_odd };

template <Order O>
struct Duo {
  Packet<float> a, b;

  static NC_INLINE Duo all(float v) { return {Packet<float>::all(v), Packet<float>::all(v)}; }
  static NC_INLINE Duo zero() { return {Packet<float>::zero(), Packet<float>::zero()}; }

  friend NC_INLINE Duo operator+(Duo x, Duo y) { return {x.a + y.a, x.b + y.b}; }
  friend NC_INLINE Duo operator-(Duo x, Duo y) { return {x.a - y.a, x.b - y.b}; }
  friend NC_INLINE Duo operator*(Duo x, Duo y) { return {x.a * y.a, x.b * y.b}; }
};
template <Order O>
NC_INLINE Duo<O> fma(Duo<O> x, Duo<O> y, Duo<O> z) {
  return {fma(x.a, y.a, z.a), fma(x.b, y.b, z.b)};
}

template <Order O>
struct Rounding<Duo<O>> {
  using R = Rounding<Packet<float>>;
  static NC_INLINE Duo<O> float32(Duo<O> v) { return v; }
  static NC_INLINE Duo<O> bfloat16(Duo<O> v) { return {R::bfloat16(v.a), R::bfloat16(v.b)}; }
  static NC_INLINE Duo<O> float16(Duo<O> v) { return {R::float16(v.a), R::float16(v.b)}; }
};
template <DType T, Order O, class = std::enable_if_t<T == DType::bfloat16 || T == DType::float16>>
NC_INLINE Duo<O> round_kept(StaticFormat<T> format, Duo<O> v) {
  return {round_kept(format, v.a), round_kept(format, v.b)};
}

// An extent of sixteen elements, all of which exist.
template <Order O>
struct Sixteen {
  static constexpr bool full = true;
  static constexpr int count = 2 * kPacket;
};
template <class Extent>
constexpr bool kIsSixteen = false;
template <Order O>
constexpr bool kIsSixteen<Sixteen<O>> = true;
template <Order O, class V>
NC_INLINE V where_present(Sixteen<O>, V v, V) {
  return v;
}

// Even and odd elements of two packets in natural order, and back.
NC_INLINE Duo<Order::even_odd> apart(Packet<float> low, Packet<float> high) {
  return {{__builtin_shufflevector(low.v, high.v, 0, 2, 4, 6, 8, 10, 12, 14)},
          {__builtin_shufflevector(low.v, high.v, 1, 3, 5, 7, 9, 11, 13, 15)}};
}
NC_INLINE Duo<Order::natural> natural(Duo<Order::natural> v) { return v; }
NC_INLINE Duo<Order::natural> natural(Duo<Order::even_odd> v) {
  return {{__builtin_shufflevector(v.a.v, v.b.v, 0, 8, 1, 9, 2, 10, 3, 11)},
          {__builtin_shufflevector(v.a.v, v.b.v, 4, 12, 5, 13, 6, 14, 7, 15)}};
}

template <class C, DType T, Order O>
NC_INLINE Duo<O> load(StaticFormat<T> format, const char* row, int64_t first, Sixteen<O>) {
  static_assert(std::is_same<C, float>::value);
  if constexpr (O == Order::even_odd && T == DType::bfloat16) {
    const U32x8 words = load_raw<U32x8>(row + first * 2);
    return {{reinterpret_cast<VectorOf<float>::type>(words << 16)},
            {reinterpret_cast<VectorOf<float>::type>(words & 0xffff0000u)}};
  } else {
    const Packet<float> low = load<C>(format, row, first, Full{}), high = load<C>(format, row, first + kPacket, Full{});
    if constexpr (O == Order::even_odd) {
      return apart(low, high);
    } else {
      return {low, high};
    }
  }
}

NC_INLINE U32x8 bits_of(Packet<float> v) { return reinterpret_cast<U32x8>(v.v); }

// rd_T(v). streams: past the caches, to an address that is a multiple of kStreamAlignment.
template <DType T, Order O>
NC_INLINE void store(StaticFormat<T>, char* row, int64_t first, Sixteen<O>, Duo<O> v, bool streams = false) {
  char* const p = row + first * bytes_of(T);
  const auto write = [streams](char* at, U32x8 bits) NC_LAMBDA_INLINE {
    if (streams) {
      stream(at, bits);
    } else {
      memcpy(at, &bits, sizeof(bits));
    }
  };
  if constexpr (T == DType::float32) {
    const Duo<Order::natural> in_order = natural(v);
    write(p, bits_of(in_order.a));
    write(p + 32, bits_of(in_order.b));
  } else if constexpr (T == DType::bfloat16 && O == Order::even_odd) {
    // Looking for a NaN in sixteen elements costs less than making sure of each.
    if (__builtin_expect(any_nan(v.a, v.b), 0)) v = {with_canonical_nan(v.a), with_canonical_nan(v.b)};
    write(p, (bfloat16_round_bits(bits_of(v.a)) >> 16) | (bfloat16_round_bits(bits_of(v.b)) & 0xffff0000u));
  } else {
    if (__builtin_expect(any_nan(v.a, v.b), 0)) v = {with_canonical_nan(v.a), with_canonical_nan(v.b)};
    const Duo<Order::natural> in_order = natural(v);
    const auto rounded = [](Packet<float> eight) NC_LAMBDA_INLINE -> U16x8 {
      if constexpr (T == DType::bfloat16) return low_halves(bfloat16_round_bits(bits_of(eight)) >> 16);
      return rounded_float16_bits(eight);
    };
    write(p, reinterpret_cast<U32x8>(__builtin_shufflevector(rounded(in_order.a), rounded(in_order.b), 0, 1, 2, 3, 4, 5,
                                                             6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
  }
}

// Sums of positions, by halving, of the eight lanes of four duos: element i is the sum of lane i.
NC_INLINE Packet<float> sums_of_positions(const Duo<Order::natural> (&lanes)[4]) {
  const Packet<float> p[kPacket] = {lanes[0].a, lanes[0].b, lanes[1].a, lanes[1].b,
                                    lanes[2].a, lanes[2].b, lanes[3].a, lanes[3].b};
  return sums_of_positions(p);
}
NC_INLINE Packet<float> sums_of_positions(const Duo<Order::even_odd> (&lanes)[4]) {
  using Vector = VectorOf<float>::type;
  // Of four packets that hold positions 0, 2, 4, 6 (or 1, 3, 5, 7) of lanes 2 k and 2 k + 1: lanes 0, 2, 4, 6, 1, 3,
  // 5, 7.
  const auto half = [](Vector p0, Vector p1, Vector p2, Vector p3) NC_LAMBDA_INLINE -> Vector {
    const Vector low = __builtin_shufflevector(p0, p1, 0, 1, 8, 9, 4, 5, 12, 13) +
                       __builtin_shufflevector(p0, p1, 2, 3, 10, 11, 6, 7, 14, 15);
    const Vector high = __builtin_shufflevector(p2, p3, 0, 1, 8, 9, 4, 5, 12, 13) +
                        __builtin_shufflevector(p2, p3, 2, 3, 10, 11, 6, 7, 14, 15);
    return __builtin_shufflevector(low, high, 0, 2, 8, 10, 4, 6, 12, 14) +
           __builtin_shufflevector(low, high, 1, 3, 9, 11, 5, 7, 13, 15);
  };
  const Vector sums = half(lanes[0].a.v, lanes[1].a.v, lanes[2].a.v, lanes[3].a.v) +
                      half(lanes[0].b.v, lanes[1].b.v, lanes[2].b.v, lanes[3].b.v);
  return {__builtin_shufflevector(sums, sums, 0, 4, 1, 5, 2, 6, 3, 7)};
}

// The sums of positions of all lanes of some accumulators.
template <Order O>
NC_INLINE void sums_of_lanes(const Duo<O> (&lanes)[4], float* sums) {
  const Packet<float> all = sums_of_positions(lanes);
  memcpy(sums, &all.v, sizeof(all.v));
}
template <Order O>
NC_INLINE void sums_of_lanes(const Duo<O> (&lanes)[2], float* sums) {
  const Duo<O> eight[4] = {lanes[0], lanes[1], Duo<O>::zero(), Duo<O>::zero()};
  const Packet<float> all = sums_of_positions(eight);
  memcpy(sums, &all.v, sizeof(all.v) / 2);
}
template <class C>
NC_INLINE void sums_of_lanes(const Packet<C> (&lanes)[1], C* sums) {
  sums[0] = sum_of_positions(lanes[0]);
}

}  // namespace NC_LEVEL
}  // namespace nc
