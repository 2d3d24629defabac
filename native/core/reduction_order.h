// In which order sums are formed: the same on every device, whatever the number of threads, rows, or vector lanes.
//
// Row sums. A row is cut into packets of 8 consecutive elements, the packets into segments(N) contiguous segments. In a
// segment, lane t of lanes(N) takes packets t, t + lanes, ... into 8 accumulators, one per position. Then a fixed tree
// of halvings: the 8 positions of a lane, 32 consecutive lanes, the groups of 32, the segments.
//
// Column sums. Rows are cut into groups(rows, N) contiguous groups. In a group, row lane r of row_lanes(N) sums rows
// r, r + row_lanes, ... in order. Then the row lanes and the groups by halving.
//
// On a GPU a lane is a thread, a segment a block of a cluster, a row group a persistent block; on the CPU a lane is 8
// elements of a register or of a small array, a row group the least that a thread works on.
#pragma once

#include "platform.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int kPacket = 8;
constexpr int kMaxLanes = 256;
constexpr int kMaxSegments = 16;
constexpr int kLaneGroup = 32;
constexpr int64_t kMaxGroups = 256;

NC_INLINE constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }
NC_INLINE constexpr int64_t packets(int64_t n) { return ceil_div(n, kPacket); }

// Powers of two, so that a lane of a row of 1K to 16K elements holds 4 to 16 packets; never more than there are
// packets, rounded up.
NC_INLINE constexpr int lanes(int64_t n) {
  if (n > 16384) return 256;
  if (n > 6144) return 128;
  if (n > 3072) return 64;
  int count = 1;
  while (count < kLaneGroup && count < packets(n)) count *= 2;
  return count;
}

NC_INLINE constexpr int segments(int64_t n) {
  if (n <= 16384) return 1;
  if (n <= 32768) return 2;
  if (n <= 65536) return 4;
  if (n <= 131072) return 8;
  return 16;
}

NC_INLINE constexpr int64_t packets_per_segment(int64_t n) { return ceil_div(packets(n), segments(n)); }

// Rows that a block of 128 threads holds at a time.
NC_INLINE constexpr int row_lanes(int64_t n) { return lanes(n) >= 128 ? 1 : lanes(n) <= 16 ? 8 : 128 / lanes(n); }

// At least four rows to a row lane, so that the partial sums stay a small part of the traffic.
NC_INLINE constexpr int64_t groups(int64_t rows, int64_t n) {
  const int64_t wanted = ceil_div(rows, 4 * row_lanes(n));
  return wanted < kMaxGroups ? wanted : kMaxGroups;
}
NC_INLINE constexpr int64_t group_begin(int64_t group, int64_t rows, int64_t groups) {
  // rows / groups and the remainder apart: group * rows may exceed 64 bits.
  const int64_t share = rows / groups;
  const int64_t rest = rows % groups;
  return group * share + group * rest / groups;
}

// The first step of halving `count` values: value i takes value i + step, for i + step < count; then step / 2, ..., 1.
NC_INLINE constexpr int64_t first_step(int64_t count) {
  int64_t step = 1;
  while (2 * step < count) step *= 2;
  return count > 1 ? step : 0;
}

// Leaves in values[0] what merge(lower, upper) makes of all of them.
template <class V, class Merge>
NC_INLINE V halving(V* values, int count, Merge merge) {
  for (int step = static_cast<int>(first_step(count)); step > 0; step /= 2) {
    for (int i = 0; i < step && i + step < count; ++i) values[i] = merge(values[i], values[i + step]);
  }
  return values[0];
}
template <class V>
NC_INLINE V halving_sum(V* values, int count) {
  return halving(values, count, [](V lower, V upper) { return lower + upper; });
}

}  // namespace NC_LEVEL
}  // namespace nc
