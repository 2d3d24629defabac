// Sums over a row, in the order of core/reduction_order.h.
//
// Lanes are taken a block at a time, so that a block's accumulators stay in registers while it walks down the row: a
// block of 8 lanes reads 64 consecutive elements, then the 64 that lie lanes(N) packets further on. The order of sums
// does not know of blocks.
#pragma once

#include "duo.h"

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

// What a step takes at a time while rows are whole: one packet or two, and as many lanes' accumulators.
template <class Extent>
struct Taken {
  template <class C>
  using Accumulator = Packet<C>;
  static constexpr int lanes = 1;
};
template <Order O>
struct Taken<Sixteen<O>> {
  template <class C>
  using Accumulator = Duo<O>;
  static constexpr int lanes = 2;
};

// The accumulators of single lanes, and back: where a row ends, packets are taken one by one.
template <class C>
NC_INLINE void spread(Packet<C> lane, Packet<C>* lanes) {
  lanes[0] = lane;
}
template <Order O>
NC_INLINE void spread(Duo<O> lanes_of_two, Packet<float>* lanes) {
  const Duo<Order::natural> in_order = natural(lanes_of_two);
  // Of even and odd positions of two lanes, in order, the packets are those of the lanes.
  lanes[0] = in_order.a;
  lanes[1] = in_order.b;
}

// Block lanes of a segment, packets begin .. end - 1, of a row of n elements: their sums over their positions.
template <class Extent, int Block, int Sums, class C, class Step>
NC_INLINE void sum_lanes(int64_t n, int64_t begin, int64_t end, int lane_count, C (*lane_sums)[kMaxLanes], int lane,
                         Step& step) {
  using Take = Taken<Extent>;
  using Accumulator = typename Take::template Accumulator<C>;
  constexpr int taken = Block / Take::lanes;
  Accumulator acc[Sums][taken];
  for (auto& of_sum : acc) {
    for (Accumulator& a : of_sum) a = Accumulator::zero();
  }
  const int64_t whole = n / kPacket;
  const int64_t whole_end = end < whole ? end : whole;
  int64_t packet = begin;
  for (; packet + Block <= whole_end; packet += lane_count) {
#pragma GCC unroll 8
    for (int b = 0; b < taken; ++b) {
      Accumulator now[Sums];
      for (int k = 0; k < Sums; ++k) now[k] = acc[k][b];
      step((packet + b * Take::lanes) * kPacket, Extent{}, now);
      for (int k = 0; k < Sums; ++k) acc[k][b] = now[k];
    }
  }
  if (packet >= end) {
    for (int k = 0; k < Sums; ++k) sums_of_lanes(acc[k], &lane_sums[k][lane]);
    return;
  }
  // The last round of a row that does not fill all lanes. Done in memory, so that it costs the loop above no registers.
  Packet<C> last[Block][Sums];
  for (int k = 0; k < Sums; ++k) {
    Packet<C> lanes_of_sum[Block];
    for (int b = 0; b < taken; ++b) spread(acc[k][b], lanes_of_sum + b * Take::lanes);
    for (int b = 0; b < Block; ++b) last[b][k] = lanes_of_sum[b];
  }
  for (int b = 0; b < Block && packet + b < end; ++b) {
    const int64_t first = (packet + b) * kPacket;
    if (packet + b < whole_end) {
      step(first, Full{}, last[b]);
    } else {
      step(first, Part{static_cast<int>(n - first)}, last[b]);
    }
  }
  for (int k = 0; k < Sums; ++k) {
    for (int b = 0; b < Block; ++b) lane_sums[k][lane + b] = sum_of_positions(last[b][k]);
  }
}

template <class Extent, int Block, int Sums, class C, class Step>
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
      sum_lanes<Extent, Block, Sums>(n, begin + lane, end, lane_count, lane_sums, lane, step);
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

// step(first, extent, acc) adds the elements of an extent to acc[0 .. Sums - 1]. Whole: the extent of most steps, Full
// where formats are looked up as the kernel runs: there code size matters, not speed, and one body serves every number
// of lanes.
template <int Sums, class Whole, class C, class Step>
NC_INLINE void reduce_row(int64_t n, C (&sums)[Sums], Step step) {
  constexpr int block = kLaneBlock<Sums, C>;
  static_assert(block <= kFewestStaticLanes);
  if constexpr (std::is_same<Whole, Full>::value) {
    reduce_row_by<Full, 1>(n, sums, step);
  } else {
    reduce_row_by<Whole, block>(n, sums, step);
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
