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
  if (lane_count < kPacket) return halving_sum(sums, lane_count);
  if (lane_count < kLaneGroup) {
    Packet<C> low, high;
    memcpy(&low.v, sums, sizeof(low.v));
    if (lane_count == kPacket) return sum_of_positions(low);
    memcpy(&high.v, sums + kPacket, sizeof(high.v));
    return sum_of_positions(low + high);
  }
  C group_sums[kMaxLanes / kLaneGroup];
  const int group_count = lane_count / kLaneGroup;
  for (int g = 0; g < group_count; ++g) {
    Packet<C> p[kLaneGroup / kPacket];
    memcpy(p, sums + g * kLaneGroup, sizeof(p));
    group_sums[g] = sum_of_positions((p[0] + p[2]) + (p[1] + p[3]));
  }
  return halving_sum(group_sums, group_count);
}

// One sum of eight lanes each: the same tree over all lanes of a segment.
NC_INLINE float sum_of_blocks(const Packet<float>* blocks, int count) {
  if (count == 1) return sum_of_positions(blocks[0]);
  if (count == 2) return sum_of_positions(blocks[0] + blocks[1]);
  float group_sums[kMaxLanes / kLaneGroup];
  constexpr int in_group = kLaneGroup / kPacket;
  for (int g = 0; g < count / in_group; ++g) {
    const Packet<float>* const p = blocks + g * in_group;
    group_sums[g] = sum_of_positions((p[0] + p[2]) + (p[1] + p[3]));
  }
  return halving_sum(group_sums, count / in_group);
}

// Duos whose accumulators stay in registers: with two sums, those of 8 lanes would not fit the 16 of AVX2.
template <int Sums>
constexpr int kAtOnce = Sums == 1 ? 4 : 2;

// Eight lanes of a segment, elements begin .. end - 1 of a row: the sum of each over its positions. What does not exist
// adds +0, which changes nothing: no sum is -0, for each began with +0.
template <Order O, int Sums, class Step>
NC_INLINE void sum_eight_lanes(int64_t begin, int64_t end, int lane_count, Packet<float> (&of_lanes)[Sums],
                               Step& step) {
  constexpr int at_once = kAtOnce<Sums>;
  constexpr int64_t width = at_once * Sixteen<O>::count;
  Duo<O> all[Sums][4];
#pragma GCC unroll 4
  for (int d = 0; d < 4; d += at_once) {
    Duo<O> acc[Sums][at_once];
    for (auto& of_sum : acc) {
      for (Duo<O>& a : of_sum) a = Duo<O>::zero();
    }
    const auto add = [&](int i, int64_t first, auto extent) NC_LAMBDA_INLINE {
      Duo<O> now[Sums];
      for (int k = 0; k < Sums; ++k) now[k] = acc[k][i];
      step(first, extent, now);
      for (int k = 0; k < Sums; ++k) acc[k][i] = now[k];
    };
    int64_t first = begin + d * Sixteen<O>::count;
    for (; first + width <= end; first += lane_count * kPacket) {
#pragma GCC unroll 4
      for (int i = 0; i < at_once; ++i) add(i, first + i * Sixteen<O>::count, Sixteen<O>{});
    }
    // The last round of a row that does not fill all lanes.
#pragma GCC unroll 4
    for (int i = 0; i < at_once; ++i) {
      const int64_t from = first + i * Sixteen<O>::count, left = end - from;
      if (left > 0) add(i, from, Cut<O>{left < Sixteen<O>::count ? left : Sixteen<O>::count});
    }
    for (int k = 0; k < Sums; ++k) {
      for (int i = 0; i < at_once; ++i) all[k][d + i] = acc[k][i];
    }
  }
  for (int k = 0; k < Sums; ++k) of_lanes[k] = sums_of_positions(all[k]);
}

// Static formats: sixteen elements at a time, rows of at least 8 lanes.
constexpr int kFewestStaticLanes = 8;

template <Order O, int Sums, class Step>
NC_INLINE void reduce_row(Sixteen<O>, int64_t n, float (&sums)[Sums], Step step) {
  const int lane_count = lanes(n);
  const int segment_count = segments(n);
  const int64_t per_segment = packets_per_segment(n) * kPacket;
  float segment_sums[Sums][kMaxSegments];
  for (int s = 0; s < segment_count; ++s) {
    const int64_t begin = s * per_segment, end = begin + per_segment < n ? begin + per_segment : n;
    Packet<float> blocks[Sums][kMaxLanes / kPacket];
    for (int block = 0; block < lane_count / kPacket; ++block) {
      Packet<float> of_lanes[Sums];
      sum_eight_lanes<O>(begin + block * kPacket * kPacket, end, lane_count, of_lanes, step);
      for (int k = 0; k < Sums; ++k) blocks[k][block] = of_lanes[k];
    }
    for (int k = 0; k < Sums; ++k) segment_sums[k][s] = sum_of_blocks(blocks[k], lane_count / kPacket);
  }
  for (int k = 0; k < Sums; ++k) sums[k] = halving_sum(segment_sums[k], segment_count);
}

// Formats that are looked up as the kernel runs: here code size matters, not speed. Lane by lane, so that one body
// serves every number of lanes.
template <int Sums, class C, class Step>
NC_INLINE void reduce_row(Full, int64_t n, C (&sums)[Sums], Step step) {
  const int lane_count = lanes(n);
  const int segment_count = segments(n);
  const int64_t per_segment = packets_per_segment(n), packet_count = packets(n), whole = n / kPacket;
  C segment_sums[Sums][kMaxSegments] = {};
  for (int s = 0; s < segment_count; ++s) {
    const int64_t begin = s * per_segment;
    const int64_t end = begin + per_segment < packet_count ? begin + per_segment : packet_count;
    alignas(64) C lane_sums[Sums][kMaxLanes];
    for (int lane = 0; lane < lane_count; ++lane) {
      Packet<C> acc[Sums];
      for (Packet<C>& a : acc) a = Packet<C>::zero();
      int64_t packet = begin + lane;
      for (; packet < end && packet < whole; packet += lane_count) step(packet * kPacket, Full{}, acc);
      if (packet < end) step(packet * kPacket, Part{static_cast<int>(n - packet * kPacket)}, acc);
      for (int k = 0; k < Sums; ++k) lane_sums[k][lane] = sum_of_positions(acc[k]);
    }
    for (int k = 0; k < Sums; ++k) segment_sums[k][s] = sum_of_lanes(lane_sums[k], lane_count);
  }
  for (int k = 0; k < Sums; ++k) sums[k] = halving_sum(segment_sums[k], segment_count);
}

}  // namespace NC_LEVEL
}  // namespace nc
