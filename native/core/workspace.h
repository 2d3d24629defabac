// The workspace of a backward. Per requested gradient: the partial sums of its row groups, [groups, row_lanes, N] in
// the compute type, and one ShareEntry per group, in which the CPU kernels record what they have summed. N is rounded
// up to a multiple of 16 for the CPU kernels that process sixteen elements at a time.
#pragma once

#include "reduction_order.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int64_t kShareGroup = 2 * kPacket;
NC_INLINE constexpr int64_t whole_share_groups(int64_t n) { return ceil_div(n, kShareGroup) * kShareGroup; }

// A summed subtree of groups: its number of groups, and the row that holds the sum.
struct ShareEntry {
  int32_t leaves;
  int32_t row;
};

NC_INLINE constexpr int64_t whole_lines(int64_t bytes) { return ceil_div(bytes, 64) * 64; }

NC_INLINE constexpr int64_t share_bytes(int64_t rows, int64_t n, int64_t width) {
  return whole_lines(groups(rows, n) * row_lanes(n) * whole_share_groups(n) * width);
}
NC_INLINE constexpr int64_t part_bytes(int64_t rows, int64_t n, int64_t width) {
  return share_bytes(rows, n, width) + whole_lines(groups(rows, n) * static_cast<int64_t>(sizeof(ShareEntry)));
}

}  // namespace NC_LEVEL
}  // namespace nc
