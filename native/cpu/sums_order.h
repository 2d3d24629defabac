// In which order the shares of dweight and dbias lie in the workspace: as the kernels that add to them hold a row's
// elements. In whole groups of sixteen elements that may be even elements before odd ones; what is left over at the end
// of a row is in order.
#pragma once

#include "formats.h"

namespace nc {
inline namespace NC_LEVEL {

inline Order sums_order(const NormSpec& spec) {
  Order order = Order::natural;
  with_static_formats(spec, [&](auto formats) {
    if (std::is_same<typename decltype(formats)::Whole, Sixteen<Order::even_odd>>::value) order = Order::even_odd;
  });
  return order;
}

constexpr int64_t kSumGroup = 2 * kPacket;

// Where the share of a column lies in a row of n.
NC_INLINE int64_t slot_of(Order order, int64_t column, int64_t n) {
  const int64_t group = column / kSumGroup * kSumGroup;
  if (order == Order::natural || group + kSumGroup > n) return column;
  const int64_t position = column - group;
  return group + position / 2 + (position % 2) * kPacket;
}

template <class C, class Extent>
NC_INLINE Packet<C> load_sum(const C* sums, int64_t first, Extent extent) {
  return load<C>(ComputeFormat<C>{}, reinterpret_cast<const char*>(sums), first, extent);
}
template <class C, class Extent>
NC_INLINE void store_sum(C* sums, int64_t first, Extent extent, Packet<C> v) {
  store(ComputeFormat<C>{}, reinterpret_cast<char*>(sums), first, extent, v);
}
template <Order O>
NC_INLINE Duo<O> load_sum(const float* sums, int64_t first, Sixteen<O>) {
  return {load_sum(sums, first, Full{}), load_sum(sums, first + kPacket, Full{})};
}
template <Order O>
NC_INLINE void store_sum(float* sums, int64_t first, Sixteen<O>, Duo<O> v) {
  store_sum(sums, first, Full{}, v.a);
  store_sum(sums, first + kPacket, Full{}, v.b);
}

// Where a row ends, in order again.
template <Order O>
NC_INLINE Duo<O> load_sum(const float* sums, int64_t first, Cut<O> cut) {
  return load<float>(ComputeFormat<float>{}, reinterpret_cast<const char*>(sums), first, cut);
}
template <Order O>
NC_INLINE void store_sum(float* sums, int64_t first, Cut<O> cut, Duo<O> v) {
  store(ComputeFormat<float>{}, reinterpret_cast<char*>(sums), first, cut, v);
}

}  // namespace NC_LEVEL
}  // namespace nc
