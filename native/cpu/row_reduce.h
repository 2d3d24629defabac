// Sums over a row, in the order of core/reduction_order.h.
//
// Lanes are processed in blocks of 8, so that the accumulators of a block stay in registers for the length of the row:
// a block reads 64 consecutive elements, then the 64 that are lanes(N) vectors further on. Blocks do not affect the
// order of sums.
#pragma once

#include "vec16.h"

namespace nc {
inline namespace NC_LEVEL {

// The trees over a segment's lanes: 32 consecutive lanes, then the groups of 32.
template <class C>
NC_INLINE C sum_of_lanes(C* sums, int lane_count) {
  if (lane_count < kVecWidth) return tree_sum(sums, lane_count);
  if (lane_count < kLaneGroup) {
    Vec8<C> low, high;
    memcpy(&low.v, sums, sizeof(low.v));
    if (lane_count == kVecWidth) return sum_of_positions(low);
    memcpy(&high.v, sums + kVecWidth, sizeof(high.v));
    return sum_of_positions(low + high);
  }
  C group_sums[kMaxLanes / kLaneGroup];
  const int group_count = lane_count / kLaneGroup;
  for (int g = 0; g < group_count; ++g) {
    Vec8<C> p[kLaneGroup / kVecWidth];
    memcpy(p, sums + g * kLaneGroup, sizeof(p));
    group_sums[g] = sum_of_positions((p[0] + p[2]) + (p[1] + p[3]));
  }
  return tree_sum(group_sums, group_count);
}

// The upper part of the tree over at most 32 lanes, down to eight sums; sum_of_lanes is the rest.
template <int Blocks>
NC_INLINE Vec8<float> sum_of_blocks(const Vec8<float>* blocks) {
  static_assert(Blocks == 1 || Blocks == 2 || Blocks == 4);
  if constexpr (Blocks == 1) return blocks[0];
  if constexpr (Blocks == 2) return blocks[0] + blocks[1];
  if constexpr (Blocks == 4) return (blocks[0] + blocks[2]) + (blocks[1] + blocks[3]);
}
// The trees over all lanes of a segment, eight lanes per vector.
NC_INLINE float sum_of_blocks(const Vec8<float>* blocks, int count) {
  if (count == 1) return sum_of_lanes(sum_of_blocks<1>(blocks));
  if (count == 2) return sum_of_lanes(sum_of_blocks<2>(blocks));
  if (count == 4) return sum_of_lanes(sum_of_blocks<4>(blocks));
  float group_sums[kMaxLanes / kLaneGroup];
  constexpr int in_group = kLaneGroup / kVecWidth;
  for (int g = 0; g < count / in_group; ++g) {
    group_sums[g] = sum_of_lanes(sum_of_blocks<in_group>(blocks + g * in_group));
  }
  return tree_sum(group_sums, count / in_group);
}

// Duos accumulated at a time: with two sums, the accumulators of 8 lanes would not fit the 16 registers of AVX2.
template <int Sums>
constexpr int kAtOnce = Sums == 1 ? 4 : 2;

// Sums over the positions of eight lanes of a segment, the first of which begins at element `first`: `rounds` full
// rounds, then one of `partial` elements. A missing vector adds nothing, not even +0, which would turn a sum of -0 into
// +0; the missing positions of a partial vector do add +0.
template <bool Even, Order O, int Sums, class Step>
NC_INLINE void sum_eight_lanes(int64_t first, int64_t rounds, int64_t stride, int64_t partial,
                               Vec8<float> (&of_lanes)[Sums], Step& step) {
  constexpr int at_once = kAtOnce<Sums>;
  constexpr int64_t width16 = Full16<O>::count;
  decltype(sums_of_four(Vec16<O>{}, Vec16<O>{})) of_four[Sums][2];
#pragma GCC unroll 4
  for (int d = 0; d < 4; d += at_once) {
    Vec16<O> acc[Sums][at_once];
    for (auto& of_sum : acc) {
      for (Vec16<O>& a : of_sum) a = Vec16<O>::zero();
    }
    const auto add = [&](int i, int64_t from, auto extent) NC_LAMBDA_INLINE {
      Vec16<O> now[Sums];
      for (int k = 0; k < Sums; ++k) now[k] = acc[k][i];
      step(from, extent, now);
      for (int k = 0; k < Sums; ++k) acc[k][i] = now[k];
    };
    const auto add_one_vec = [&](int i, int64_t from, Partial16<O> tail) NC_LAMBDA_INLINE {
      Vec16<O> now[Sums];
      for (int k = 0; k < Sums; ++k) now[k] = acc[k][i];
      step(from, tail, now);
      for (int k = 0; k < Sums; ++k) acc[k][i] = where_present(Partial16<O>{kVecWidth}, now[k], acc[k][i]);
    };
    int64_t here = first + d * width16;
    // The first round is peeled, so that nothing is zeroed before it.
    if (Even || rounds > 0) {
#pragma GCC unroll 4
      for (int i = 0; i < at_once; ++i) add(i, here + i * width16, Full16<O>{});
      here += stride;
    }
    for (int64_t round = rounds; round > 1; --round) {
#pragma GCC unroll 4
      for (int i = 0; i < at_once; ++i) add(i, here + i * width16, Full16<O>{});
      here += stride;
    }
    if (!Even && partial > 0) {
#pragma GCC unroll 4
      for (int i = 0; i < at_once; ++i) {
        const int64_t left = partial - (d + i) * width16;
        if (left >= width16) {
          add(i, here + i * width16, Full16<O>{});
        } else if (left > kVecWidth) {
          add(i, here + i * width16, Partial16<O>{left});
        } else if (left > 0) {
          add_one_vec(i, here + i * width16, Partial16<O>{left});
        }
      }
    }
    for (int k = 0; k < Sums; ++k) {
      for (int i = 0; i < at_once; i += 2) of_four[k][(d + i) / 2] = sums_of_four(acc[k][i], acc[k][i + 1]);
    }
  }
  for (int k = 0; k < Sums; ++k) of_lanes[k] = sums_of_eight(of_four[k][0], of_four[k][1]);
}

// The lane sums of elements begin .. end - 1 of a row, a segment, eight lanes per block. Even: the segment is a whole
// number of rounds, at least one.
template <bool Even, Order O, int Sums, int Most, class Step>
NC_INLINE void sum_blocks(int64_t begin, int64_t end, int block_count, Vec8<float> (&blocks)[Sums][Most], Step& step) {
  constexpr int64_t width = kVecWidth * kVecWidth;
  const int64_t stride = block_count * width, rounds = (end - begin) >> __builtin_ctzll(static_cast<uint64_t>(stride));
  // Elements of the last, incomplete round, from this block on.
  int64_t rest = end - begin - rounds * stride;
#pragma GCC unroll 4
  for (int block = 0; block < block_count; ++block, rest -= width) {
    Vec8<float> of_lanes[Sums];
    sum_eight_lanes<Even, O>(begin + block * width, rounds + (rest >= width ? 1 : 0), stride, rest < width ? rest : 0,
                             of_lanes, step);
    for (int k = 0; k < Sums; ++k) blocks[k][block] = of_lanes[k];
  }
}

// Static formats: sixteen elements at a time; rows have at least 8 lanes.
constexpr int kFewestStaticLanes = 8;

template <Order O, int Sums, class Step>
NC_INLINE void reduce_row(Full16<O>, int64_t n, float (&sums)[Sums], Step step) {
  const int block_count = lanes(n) / kVecWidth;
  const int segment_count = segments(n);
  const int64_t per_segment = vectors_per_segment(n) * kVecWidth;
  float segment_sums[Sums][kMaxSegments];
  for (int s = 0; s < segment_count; ++s) {
    const int64_t begin = s * per_segment;
    Vec8<float> blocks[Sums][kMaxLanes / kVecWidth];
    sum_blocks<false, O>(begin, begin + per_segment < n ? begin + per_segment : n, block_count, blocks, step);
    for (int k = 0; k < Sums; ++k) segment_sums[k][s] = sum_of_blocks(blocks[k], block_count);
  }
  for (int k = 0; k < Sums; ++k) sums[k] = tree_sum(segment_sums[k], segment_count);
}

// The most rows of a batch.
constexpr int kMostRows = 16;

// Sums of a batch of rows: sums[s][k] is sum s of row k, whose step is step_of(k). Blocks: the number of lane blocks of
// a row of one segment, or 0 if unknown at compile time. Short rows have it: the last levels of eight rows' trees are
// computed at once, which hides their latency. Sums beyond the last row are defined values.
template <int Blocks, bool Even, Order O, int Sums, class StepOf>
NC_INLINE void reduce_rows(Full16<O> whole, int64_t n, int count, float (&sums)[Sums][kMostRows], StepOf step_of) {
  if constexpr (Blocks == 0) {
    for (int k = 0; k < count; ++k) {
      float of_row[Sums];
      reduce_row(whole, n, of_row, step_of(k));
      for (int s = 0; s < Sums; ++s) sums[s][k] = of_row[s];
    }
  } else {
    for (int first = 0; first < count; first += kVecWidth) {
      const int eight = count - first < kVecWidth ? count - first : kVecWidth;
      Vec8<float> of_rows[Sums][kVecWidth];
      for (int k = 0; k < eight; ++k) {
        auto step = step_of(first + k);
        Vec8<float> blocks[Sums][Blocks];
        sum_blocks<Even, O>(0, n, Blocks, blocks, step);
        for (int s = 0; s < Sums; ++s) of_rows[s][k] = sum_of_blocks<Blocks>(blocks[s]);
      }
      for (int k = eight; k < kVecWidth; ++k) {
        for (int s = 0; s < Sums; ++s) of_rows[s][k] = of_rows[s][0];
      }
      for (int s = 0; s < Sums; ++s) {
        const Vec8<float> row_sums = sums_of_lanes(of_rows[s]);
        memcpy(sums[s] + first, &row_sums, sizeof(row_sums));
      }
    }
  }
}

// Calls f(k) for rows 0 .. count - 1; with Blocks, up to a multiple of eight, so that the compiler can vectorise.
template <int Blocks, class F>
NC_INLINE void for_each_row(int count, F f) {
  if constexpr (Blocks == 0) {
    for (int k = 0; k < count; ++k) f(k);
  } else {
    for (int first = 0; first < count; first += kVecWidth) {
      for (int k = 0; k < kVecWidth; ++k) f(first + k);
    }
  }
}

// Runtime formats: code size matters more than speed. Lane by lane, so that one body serves every number of lanes.
template <int Sums, class C, class Step>
NC_INLINE void reduce_row(FullVec, int64_t n, C (&sums)[Sums], Step step) {
  const int lane_count = lanes(n);
  const int segment_count = segments(n);
  const int64_t per_segment = vectors_per_segment(n), vec_count = vectors(n), whole = n / kVecWidth;
  C segment_sums[Sums][kMaxSegments] = {};
  for (int s = 0; s < segment_count; ++s) {
    const int64_t begin = s * per_segment;
    const int64_t end = begin + per_segment < vec_count ? begin + per_segment : vec_count;
    alignas(64) C lane_sums[Sums][kMaxLanes];
    for (int lane = 0; lane < lane_count; ++lane) {
      Vec8<C> acc[Sums];
      for (Vec8<C>& a : acc) a = Vec8<C>::zero();
      int64_t vec = begin + lane;
      for (; vec < end && vec < whole; vec += lane_count) step(vec * kVecWidth, FullVec{}, acc);
      if (vec < end) step(vec * kVecWidth, PartialVec{static_cast<int>(n - vec * kVecWidth)}, acc);
      for (int k = 0; k < Sums; ++k) lane_sums[k][lane] = sum_of_positions(acc[k]);
    }
    for (int k = 0; k < Sums; ++k) segment_sums[k][s] = sum_of_lanes(lane_sums[k], lane_count);
  }
  for (int k = 0; k < Sums; ++k) sums[k] = tree_sum(segment_sums[k], segment_count);
}

}  // namespace NC_LEVEL
}  // namespace nc
