// The layout of the partial sums of dweight and dbias in the workspace: the order in which the kernels hold a row's
// elements. Kernels with static formats hold sixteen at a time, possibly even elements before odd ones. If N is not a
// multiple of 16, the last sixteen slots are those of the last sixteen elements, so some elements have two slots, with
// equal sums.
#pragma once

#include "../core/workspace.h"
#include "formats.h"

namespace nc {
inline namespace NC_LEVEL {

struct ShareLayout {
  bool by_sixteens;
  Order order;
  int64_t n;

  explicit ShareLayout(const NormSpec& spec) : by_sixteens(false), order(Order::natural), n(spec.hidden_size) {
    by_sixteens = with_static_formats(spec, [&](auto formats) { order = decltype(formats)::order; });
  }
  int64_t slots() const { return by_sixteens ? padded_columns(n) : n; }
  // The number of leading elements whose slot, or group of sixteen slots, follows from their index. The remaining
  // elements are in the last group.
  int64_t in_place() const { return by_sixteens ? n / kColumnPadding * kColumnPadding : n; }
};

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
  return {load_sum(sums, first, Full{}), load_sum(sums, first + kVecWidth, Full{})};
}
template <Order O>
NC_INLINE void store_sum(float* sums, int64_t first, Sixteen<O>, Duo<O> v) {
  store_sum(sums, first, Full{}, v.a);
  store_sum(sums, first + kVecWidth, Full{}, v.b);
}

}  // namespace NC_LEVEL
}  // namespace nc
