// The layout of the partial sums of dweight and dbias in the workspace: the order in which the kernels hold a row's
// elements. Kernels with static formats hold sixteen at a time, possibly even elements before odd ones. If N is not a
// multiple of 16, the last sixteen slots are those of the last sixteen elements, so some elements have two slots, with
// equal sums.
#pragma once

#include "../core/workspace.h"
#include "formats.h"
#include "kernels.h"

namespace nc {
inline namespace NC_LEVEL {

struct PartialSumLayout {
  bool by_vec16;
  Order order;
  int64_t n;

  PartialSumLayout(PartialSumOrder selected, int64_t columns)
      : by_vec16(selected.by_vec16), order(selected.even_odd ? Order::even_odd : Order::natural), n(columns) {}
  int64_t stride() const { return by_vec16 ? padded_columns(n) : n; }
  // The number of leading elements whose slot, or group of sixteen slots, follows from their index. The remaining
  // elements are in the last group.
  int64_t in_place() const { return by_vec16 ? n / kColumnPadding * kColumnPadding : n; }
};

inline PartialSumOrder partial_sum_order(const NormSpec& spec) {
  PartialSumOrder selected{false, false};
  selected.by_vec16 =
      with_static_formats(spec, [&](auto formats) { selected.even_odd = decltype(formats)::order == Order::even_odd; });
  return selected;
}

template <class C, class Extent>
NC_INLINE Vec8<C> load_sum(const C* sums, int64_t first, Extent extent) {
  return load<C>(ComputeFormat<C>{}, reinterpret_cast<const char*>(sums), first, extent);
}
template <class C, class Extent>
NC_INLINE void store_sum(C* sums, int64_t first, Extent extent, Vec8<C> v) {
  store(ComputeFormat<C>{}, reinterpret_cast<char*>(sums), first, extent, v);
}
template <Order O>
NC_INLINE Vec16<O> load_sum(const float* sums, int64_t first, Full16<O>) {
  return {load_sum(sums, first, FullVec{}), load_sum(sums, first + kVecWidth, FullVec{})};
}
template <Order O>
NC_INLINE void store_sum(float* sums, int64_t first, Full16<O>, Vec16<O> v) {
  store_sum(sums, first, FullVec{}, v.a);
  store_sum(sums, first + kVecWidth, FullVec{}, v.b);
}

}  // namespace NC_LEVEL
}  // namespace nc
