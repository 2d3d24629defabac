// Sums over a row, in the order of core/reduction_order.h.
//
// Lanes are taken a block at a time, so that a block's accumulators stay in registers while it walks down the row: a
// block of 8 lanes reads 64 consecutive elements, then the 64 that lie lanes(N) packets further on. The order of sums
// does not know of blocks.
#pragma once

#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {

// The tree over a segment's lanes: 32 consecutive ones by halving, then the groups of 32.
template <class C>
NC_INLINE C sum_of_lanes(C* sums, int lane_count) {
  if (lane_count < kLaneGroup) return halving_sum(sums, lane_count);
  C group_sums[kMaxLanes / kLaneGroup];
  const int group_count = lane_count / kLaneGroup;
  for (int g = 0; g < group_count; ++g) {
    Packet<C> p[kLaneGroup / kPacket];
    memcpy(p, sums + g * kLaneGroup, sizeof(p));
    group_sums[g] = sum_of_positions((p[0] + p[2]) + (p[1] + p[3]));
  }
  return halving_sum(group_sums, group_count);
}

// Block lanes of a segment, packets begin .. end - 1, of a row of n elements: acc[lane][sum] takes their packets.
template <int Block, int Sums, class C, class Step>
NC_INLINE void walk_lanes(int64_t n, int64_t begin, int64_t end, int lane_count, Packet<C> (&acc)[Block][Sums],
                          Step& step) {
  const int64_t whole = n / kPacket;
  const int64_t whole_end = end < whole ? end : whole;
  int64_t packet = begin;
  for (; packet + Block <= whole_end; packet += lane_count) {
#pragma GCC unroll 8
    for (int b = 0; b < Block; ++b) step((packet + b) * kPacket, Full{}, acc[b]);
  }
  if (packet >= end) return;
  // The last round of a row that does not fill all lanes. Done in memory, so that it costs the loop above no registers.
  Packet<C> last[Block][Sums];
  memcpy(last, acc, sizeof(last));
  for (int b = 0; b < Block && packet + b < end; ++b) {
    const int64_t first = (packet + b) * kPacket;
    if (packet + b < whole_end) {
      step(first, Full{}, last[b]);
    } else {
      step(first, Part{static_cast<int>(n - first)}, last[b]);
    }
  }
  memcpy(acc, last, sizeof(last));
}

template <int Block, int Sums, class C, class Step>
NC_INLINE void reduce_row_by(int64_t n, C (&sums)[Sums], Step& step) {
  const int lane_count = lanes(n);
  const int segment_count = segments(n);
  const int64_t per_segment = packets_per_segment(n);
  const int64_t packet_count = packets(n);
  C segment_sums[Sums][kMaxSegments] = {};
  for (int s = 0; s < segment_count; ++s) {
    const int64_t begin = s * per_segment;
    const int64_t end = begin + per_segment < packet_count ? begin + per_segment : packet_count;
    alignas(64) C lane_sums[Sums][kMaxLanes];
    for (int lane = 0; lane < lane_count; lane += Block) {
      Packet<C> acc[Block][Sums];
      for (auto& lane_acc : acc) {
        for (auto& a : lane_acc) a = Packet<C>::zero();
      }
      walk_lanes(n, begin + lane, end, lane_count, acc, step);
      for (int k = 0; k < Sums; ++k) {
        if constexpr (Block == kPacket) {
          const Packet<C> of_sum[kPacket] = {acc[0][k], acc[1][k], acc[2][k], acc[3][k],
                                             acc[4][k], acc[5][k], acc[6][k], acc[7][k]};
          const Packet<C> total = sums_of_positions(of_sum);
          memcpy(&lane_sums[k][lane], &total.v, sizeof(total.v));
        } else {
          for (int b = 0; b < Block; ++b) lane_sums[k][lane + b] = sum_of_positions(acc[b][k]);
        }
      }
    }
    for (int k = 0; k < Sums; ++k) segment_sums[k][s] = sum_of_lanes(lane_sums[k], lane_count);
  }
  for (int k = 0; k < Sums; ++k) sums[k] = halving_sum(segment_sums[k], segment_count);
}

// With two sums, or in double, 8 lanes would not fit the 16 registers of AVX2.
template <int Sums, class C>
constexpr int kLaneBlock = Sums == 1 && sizeof(C) == 4 ? 8 : 4;

// Rows of fewer lanes than a block are walked lane by lane, and only by the kernels that look formats up as they run.
constexpr int kFewestStaticLanes = 8;

// step(first, extent, acc) adds elements first .. first + 7 of the row to acc[0 .. Sums - 1].
template <int Sums, bool AnyLanes, class C, class Step>
NC_INLINE void reduce_row(int64_t n, C (&sums)[Sums], Step step) {
  constexpr int block = kLaneBlock<Sums, C>;
  static_assert(block <= kFewestStaticLanes);
  if constexpr (AnyLanes) {
    // One body serves every number of lanes: here code size matters, not speed.
    reduce_row_by<1>(n, sums, step);
  } else {
    reduce_row_by<block>(n, sums, step);
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
