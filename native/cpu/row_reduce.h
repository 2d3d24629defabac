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
  if (count == 4) return sum_of_positions((blocks[0] + blocks[2]) + (blocks[1] + blocks[3]));
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

// Eight lanes of a segment, of which the first one begins at element `first`: the sum of each over its positions. They
// are there in whole for some rounds, and then for `partial` elements of one more. A packet that does not exist adds
// nothing, not even +0, which would make +0 of a sum that is -0; positions of one that exists in part do add it.
template <Order O, int Sums, class Step>
NC_INLINE void sum_eight_lanes(int64_t first, int64_t rounds, int64_t stride, int64_t partial,
                               Packet<float> (&of_lanes)[Sums], Step& step) {
  constexpr int at_once = kAtOnce<Sums>;
  constexpr int64_t sixteen = Sixteen<O>::count;
  Duo<O> all[Sums][4];
#pragma GCC unroll 4
  for (int d = 0; d < 4; d += at_once) {
    Duo<O> acc[Sums][at_once];
    for (auto& of_sum : acc) {
      for (Duo<O>& a : of_sum) a = Duo<O>::zero();
    }
    const auto add = [&](int i, int64_t from, auto extent) NC_LAMBDA_INLINE {
      Duo<O> now[Sums];
      for (int k = 0; k < Sums; ++k) now[k] = acc[k][i];
      step(from, extent, now);
      for (int k = 0; k < Sums; ++k) acc[k][i] = now[k];
    };
    const auto add_one_packet = [&](int i, int64_t from, Cut<O> cut) NC_LAMBDA_INLINE {
      Duo<O> now[Sums];
      for (int k = 0; k < Sums; ++k) now[k] = acc[k][i];
      step(from, cut, now);
      for (int k = 0; k < Sums; ++k) acc[k][i] = where_present(Cut<O>{kPacket}, now[k], acc[k][i]);
    };
    int64_t here = first + d * sixteen;
    for (int64_t round = rounds; round > 0; --round) {
#pragma GCC unroll 4
      for (int i = 0; i < at_once; ++i) add(i, here + i * sixteen, Sixteen<O>{});
      here += stride;
    }
    if (partial > 0) {
#pragma GCC unroll 4
      for (int i = 0; i < at_once; ++i) {
        const int64_t left = partial - (d + i) * sixteen;
        if (left >= sixteen) {
          add(i, here + i * sixteen, Sixteen<O>{});
        } else if (left > kPacket) {
          add(i, here + i * sixteen, Cut<O>{left});
        } else if (left > 0) {
          add_one_packet(i, here + i * sixteen, Cut<O>{left});
        }
      }
    }
    for (int k = 0; k < Sums; ++k) {
      for (int i = 0; i < at_once; ++i) all[k][d + i] = acc[k][i];
    }
  }
  for (int k = 0; k < Sums; ++k) of_lanes[k] = sums_of_positions(all[k]);
}

// Elements begin .. end - 1 of a row, a segment. Blocks: of eight lanes, 0 if any number of them.
template <Order O, int Blocks, int Sums, class Step>
NC_INLINE void sum_segment(int64_t begin, int64_t end, int lane_count, float (&sums)[Sums], Step& step) {
  constexpr int64_t width = kPacket * kPacket;
  const int block_count = Blocks > 0 ? Blocks : lane_count / kPacket;
  const int64_t stride = block_count * width, rounds = (end - begin) >> __builtin_ctzll(static_cast<uint64_t>(stride));
  Packet<float> blocks[Sums][Blocks > 0 ? Blocks : kMaxLanes / kPacket];
  // Elements of the last, incomplete round, from the present block on.
  int64_t rest = end - begin - rounds * stride;
#pragma GCC unroll 4
  for (int block = 0; block < block_count; ++block, rest -= width) {
    Packet<float> of_lanes[Sums];
    sum_eight_lanes<O>(begin + block * width, rounds + (rest >= width ? 1 : 0), stride, rest < width ? rest : 0,
                       of_lanes, step);
    for (int k = 0; k < Sums; ++k) blocks[k][block] = of_lanes[k];
  }
  for (int k = 0; k < Sums; ++k) sums[k] = sum_of_blocks(blocks[k], block_count);
}

// Static formats: sixteen elements at a time, rows of at least 8 lanes. Blocks: of the lanes of rows of one segment, if
// their number is known when the kernel is compiled.
constexpr int kFewestStaticLanes = 8;

template <int Blocks = 0, Order O, int Sums, class Step>
NC_INLINE void reduce_row(Sixteen<O>, int64_t n, float (&sums)[Sums], Step step) {
  if constexpr (Blocks > 0) return sum_segment<O, Blocks>(0, n, Blocks * kPacket, sums, step);
  const int lane_count = lanes(n);
  const int segment_count = segments(n);
  const int64_t per_segment = packets_per_segment(n) * kPacket;
  float segment_sums[Sums][kMaxSegments];
  for (int s = 0; s < segment_count; ++s) {
    const int64_t begin = s * per_segment;
    float of_segment[Sums];
    sum_segment<O, 0>(begin, begin + per_segment < n ? begin + per_segment : n, lane_count, of_segment, step);
    if (segment_count == 1) {
      for (int k = 0; k < Sums; ++k) sums[k] = of_segment[k];
      return;
    }
    for (int k = 0; k < Sums; ++k) segment_sums[k][s] = of_segment[k];
  }
  for (int k = 0; k < Sums; ++k) sums[k] = halving_sum(segment_sums[k], segment_count);
}

// Formats that are looked up as the kernel runs: here code size matters, not speed. Lane by lane, so that one body
// serves every number of lanes.
template <int = 0, int Sums, class C, class Step>
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
