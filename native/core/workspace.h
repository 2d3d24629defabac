// The workspace of a backward. Per requested gradient: the partial sums of its row groups, [groups, row_slots, N] in
// the compute type, and one PartialSumEntry per group, in which the CPU kernels record what they have summed. N is
// rounded up to a multiple of 16 for the CPU kernels that process sixteen elements at a time.
#pragma once

#include "reduction_order.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int64_t kColumnPadding = 2 * kVecWidth;
NC_INLINE constexpr int64_t padded_columns(int64_t n) { return ceil_div(n, kColumnPadding) * kColumnPadding; }

// A summed subtree of groups: its number of groups, and the row that holds the sum.
struct PartialSumEntry {
  int32_t leaves;
  int32_t row;
};

NC_INLINE constexpr int64_t whole_lines(int64_t bytes) { return ceil_div(bytes, 64) * 64; }

NC_INLINE constexpr int64_t partial_sum_bytes(int64_t rows, int64_t n, int64_t element_bytes) {
  return whole_lines(groups(rows, n) * row_slots(n) * padded_columns(n) * element_bytes);
}
NC_INLINE constexpr int64_t gradient_workspace_bytes(int64_t rows, int64_t n, int64_t element_bytes) {
  return partial_sum_bytes(rows, n, element_bytes) +
         whole_lines(groups(rows, n) * static_cast<int64_t>(sizeof(PartialSumEntry)));
}

}  // namespace NC_LEVEL
}  // namespace nc
