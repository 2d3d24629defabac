// The order of summation. It is the same on every device, for any number of threads and any vector width.
//
// Row sums. A row is split into vectors of 8 consecutive elements, and the vectors into segments(N) contiguous
// segments. In a segment, lane t of lanes(N) adds vectors t, t + lanes, ... in order into 8 accumulators, one per
// position. Then four halving trees: the 8 positions of a lane, 32 consecutive lanes, the groups of 32 lanes, the
// segments.
//
// Column sums. The rows are split into groups(rows, N) contiguous groups. In a group, row slot r of row_slots(N) adds
// rows r, r + row_slots, ... in order. Then two halving trees: the row slots, the groups.
//
// The macros are for variants (tests/gpu/tuning), whose results have other bits. A paragraph holds macros and what they
// affect: variants.py relies on it.
//
// On a GPU a lane is a thread, a segment is a block of a cluster, and a row group is a persistent block. On the CPU a
// lane is 8 elements of a register or of a small array, and a row group is the smallest unit of work of a thread.
#pragma once

#include "platform.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int kVecWidth = 8;
constexpr int kMaxLanes = 256;
constexpr int kMaxSegments = 16;
constexpr int kLaneGroup = 32;

NC_INLINE constexpr int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }
NC_INLINE constexpr int64_t vectors(int64_t n) { return ceil_div(n, kVecWidth); }

// A power of two, such that a lane holds 4 to 16 vectors for N = 1K to 16K; at most the number of vectors, rounded up
// to a power of two.
#ifndef NC_TUNE_ORDER_256_LANES_ABOVE
#define NC_TUNE_ORDER_256_LANES_ABOVE 16384
#endif
#ifndef NC_TUNE_ORDER_128_LANES_ABOVE
#define NC_TUNE_ORDER_128_LANES_ABOVE 6144
#endif
#ifndef NC_TUNE_ORDER_64_LANES_ABOVE
#define NC_TUNE_ORDER_64_LANES_ABOVE 3072
#endif
#ifndef NC_TUNE_ORDER_VECTORS_PER_LANE
#define NC_TUNE_ORDER_VECTORS_PER_LANE 1
#endif
NC_INLINE constexpr int lanes(int64_t n) {
  if (n > NC_TUNE_ORDER_256_LANES_ABOVE) return 256;
  if (n > NC_TUNE_ORDER_128_LANES_ABOVE) return 128;
  if (n > NC_TUNE_ORDER_64_LANES_ABOVE) return 64;
  int count = 1;
  while (count < kLaneGroup && NC_TUNE_ORDER_VECTORS_PER_LANE * count < vectors(n)) count *= 2;
  return count;
}

// Powers of two.
#ifndef NC_TUNE_ORDER_16_SEGMENTS_ABOVE
#define NC_TUNE_ORDER_16_SEGMENTS_ABOVE 131072
#endif
#ifndef NC_TUNE_ORDER_8_SEGMENTS_ABOVE
#define NC_TUNE_ORDER_8_SEGMENTS_ABOVE 65536
#endif
#ifndef NC_TUNE_ORDER_4_SEGMENTS_ABOVE
#define NC_TUNE_ORDER_4_SEGMENTS_ABOVE 32768
#endif
#ifndef NC_TUNE_ORDER_2_SEGMENTS_ABOVE
#define NC_TUNE_ORDER_2_SEGMENTS_ABOVE 16384
#endif
NC_INLINE constexpr int segments(int64_t n) {
  if (n > NC_TUNE_ORDER_16_SEGMENTS_ABOVE) return 16;
  if (n > NC_TUNE_ORDER_8_SEGMENTS_ABOVE) return 8;
  if (n > NC_TUNE_ORDER_4_SEGMENTS_ABOVE) return 4;
  if (n > NC_TUNE_ORDER_2_SEGMENTS_ABOVE) return 2;
  return 1;
}

NC_INLINE constexpr int64_t vectors_per_segment(int64_t n) { return ceil_div(vectors(n), segments(n)); }

// Rows that a block of 128 threads processes at a time, at most 8.
#ifndef NC_TUNE_ORDER_ONE_ROW_SLOT_LANES
#define NC_TUNE_ORDER_ONE_ROW_SLOT_LANES 128
#endif
#ifndef NC_TUNE_ORDER_ROW_SLOT_THREADS
#define NC_TUNE_ORDER_ROW_SLOT_THREADS 128
#endif
#ifndef NC_TUNE_ORDER_MAX_ROW_SLOTS
#define NC_TUNE_ORDER_MAX_ROW_SLOTS 8
#endif
NC_INLINE constexpr int row_slots(int64_t n) {
  if (lanes(n) >= NC_TUNE_ORDER_ONE_ROW_SLOT_LANES) return 1;
  const int slots = NC_TUNE_ORDER_ROW_SLOT_THREADS / lanes(n);
  return slots < NC_TUNE_ORDER_MAX_ROW_SLOTS ? slots : NC_TUNE_ORDER_MAX_ROW_SLOTS;
}

// At least four rows per row slot, so that partial sums are a small part of the memory traffic.
#ifndef NC_TUNE_ORDER_MAX_GROUPS
#define NC_TUNE_ORDER_MAX_GROUPS 256
#endif
#ifndef NC_TUNE_ORDER_ROWS_PER_SLOT
#define NC_TUNE_ORDER_ROWS_PER_SLOT 4
#endif
#ifndef NC_TUNE_ORDER_MAX_PARTIAL_SUMS
#define NC_TUNE_ORDER_MAX_PARTIAL_SUMS INT64_MAX
#endif
constexpr int64_t kMaxGroups = NC_TUNE_ORDER_MAX_GROUPS;
NC_INLINE constexpr int64_t max_groups(int64_t n) {
  // The limit of partial sums is for more than 256 groups.
  const int64_t by_size = NC_TUNE_ORDER_MAX_PARTIAL_SUMS / n;
  return by_size > kMaxGroups ? kMaxGroups : by_size < 256 ? 256 : by_size;
}
NC_INLINE constexpr int64_t groups(int64_t rows, int64_t n) {
  const int64_t wanted = ceil_div(rows, NC_TUNE_ORDER_ROWS_PER_SLOT * row_slots(n));
  return wanted < max_groups(n) ? wanted : max_groups(n);
}
NC_INLINE constexpr int64_t group_begin(int64_t group, int64_t rows, int64_t groups) {
  // Quotient and remainder separately: group * rows may overflow 64 bits.
  const int64_t rows_per_group = rows / groups;
  const int64_t rest = rows % groups;
  return group * rows_per_group + group * rest / groups;
}

// The first step of a halving tree of `count` values: value i is combined with value i + step, for i + step < count;
// then step / 2, ..., 1.
NC_INLINE constexpr int64_t first_step(int64_t count) {
  int64_t step = 1;
  while (2 * step < count) step *= 2;
  return count > 1 ? step : 0;
}

// Combines all values by merge(lower, upper) in a halving tree. Overwrites `values`; the result is values[0].
template <class V, class Combine>
NC_INLINE V tree_reduce(V* values, int count, Combine combine) {
  for (int step = static_cast<int>(first_step(count)); step > 0; step /= 2) {
    for (int i = 0; i < step && i + step < count; ++i) values[i] = combine(values[i], values[i + step]);
  }
  return values[0];
}
template <class V>
NC_INLINE V tree_sum(V* values, int count) {
  return tree_reduce(values, count, [](V lower, V upper) { return lower + upper; });
}

}  // namespace NC_LEVEL
}  // namespace nc
