// The workspace of a backward: for each gradient that is wanted the shares of its row groups, [groups, row_lanes, N] in
// the compute type, and a list with an entry for each group, in which the CPU's kernels note what they have summed. The
// CPU's kernels that hold sixteen elements at a time make N a multiple of that.
#pragma once

#include "reduction_order.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int64_t kShareGroup = 2 * kPacket;
NC_INLINE constexpr int64_t whole_share_groups(int64_t n) { return ceil_div(n, kShareGroup) * kShareGroup; }

// A part of the tree of groups that has been summed: how many groups it has, and in which row the sum lies.
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
