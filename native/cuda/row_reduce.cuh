// Row sums in the order of core/reduction_order.h. A thread is a lane. A block, or a block of a cluster if a row has
// several segments, is a segment. Each thread passes a value already summed over its vectors and their SIMD lanes;
// every thread of the row receives the row's sum.
#pragma once

#include "../core/reduction_order.h"
#include "../core/row_math.h"
#include "simt.cuh"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

constexpr int kWarp = 32;
constexpr int kMaxWarps = kMaxForwardThreads / kWarp;
static_assert(kWarp == kLaneGroup);

// The first arrive of a cluster's blocks, before which nothing has been written.
NC_DEVICE void cluster_arrive_first() {
  if constexpr (kRelaxedClusterStart) {
    simt::cluster_arrive_relaxed();
  } else {
    simt::cluster_arrive();
  }
}

// Several sums, taken together.
template <class C, int Count>
struct Sums {
  static constexpr bool symmetric = true;
  C of[Count];
  friend NC_DEVICE Sums combine(Sums lower, Sums upper) {
    NC_UNROLL for (int i = 0; i < Count; ++i) lower.of[i] = lower.of[i] + upper.of[i];
    return lower;
  }
  friend NC_DEVICE Sums shuffled(Sums v, int mask) {
    NC_UNROLL for (int i = 0; i < Count; ++i) v.of[i] = simt::shuffle_xor(v.of[i], mask);
    return v;
  }
};

// Maximum of numbers; no NaN.
template <class C>
struct MaxAbs {
  static constexpr bool symmetric = true;
  C value;
  friend NC_DEVICE MaxAbs combine(MaxAbs lower, MaxAbs upper) { return lower.value < upper.value ? upper : lower; }
  friend NC_DEVICE MaxAbs shuffled(MaxAbs v, int mask) { return {simt::shuffle_xor(v.value, mask)}; }
};

// Welford moments with their count. An empty upper part occurs at the end of a row; the lower part is never empty
// before the upper one.
template <class C>
struct CountedMoments {
  static constexpr bool symmetric = false;
  Moments<C> moments;
  C count;
  friend NC_DEVICE CountedMoments combine(CountedMoments lower, CountedMoments upper) {
    if (upper.count == C(0)) return lower;
    return {welford_merge(lower.moments, lower.count, upper.moments, upper.count), lower.count + upper.count};
  }
  friend NC_DEVICE CountedMoments shuffled(CountedMoments v, int mask) {
    return {{simt::shuffle_xor(v.moments.mean, mask), simt::shuffle_xor(v.moments.m2, mask)},
            simt::shuffle_xor(v.count, mask)};
  }
};

// Tree reduction of Count values at stride `step`: the last step adds the tree of the odd ones to that of the even
// ones.
template <int Count, class Value>
NC_DEVICE Value tree_reduce(const Value* values, int step) {
  if constexpr (Count == 1) {
    return values[0];
  } else {
    return combine(tree_reduce<Count / 2>(values, 2 * step), tree_reduce<Count / 2>(values + step, 2 * step));
  }
}
template <class Value>
NC_DEVICE Value tree_reduce_any(const Value* values, int count) {
  switch (count) {
    case 2:
      return tree_reduce<2>(values, 1);
    case 4:
      return tree_reduce<4>(values, 1);
    case 8:
      return tree_reduce<8>(values, 1);
    case 16:
      return tree_reduce<16>(values, 1);
    default:
      return values[0];
  }
}

// Double-buffered reduction scratch in shared memory. One buffer is read while the next reduction writes the other, and
// each reduction has a barrier before a buffer is reused, so one barrier per reduction is enough.
template <class Value>
struct ReduceScratch {
  Value of_warps[2][kMaxWarps];
  Value of_blocks[2][kMaxSegments];
};

template <class Value>
class RowReducer {
 public:
  // lanes: threads of a row in this block; row_slot: index of the row in the block; blocks: per row, 1 without a
  // cluster.
  NC_DEVICE RowReducer(ReduceScratch<Value>* scratch, int lanes, int row_slot, int lane, int blocks)
      : scratch_(scratch), lanes_(lanes), row_slot_(row_slot), lane_(lane), blocks_(blocks) {}

  // All threads of the block, or of the cluster, must call this.
  NC_DEVICE Value operator()(Value v) {
    v = of_block(v);
    if (blocks_ > 1) v = of_cluster(v);
    phase_ ^= 1;
    return v;
  }

 private:
  NC_DEVICE Value of_block(Value v) {
    if (lanes_ >= kWarp) {
      NC_UNROLL for (int step = kWarp / 2; step > 0; step /= 2) v = stepped(v, step);
    } else {
      for (int step = lanes_ / 2; step > 0; step /= 2) v = stepped(v, step);
    }
    const int warps = lanes_ / kWarp;
    if (warps <= 1) return v;
    Value* of_row = scratch_->of_warps[phase_] + row_slot_ * warps;
    if (lane_ % kWarp == 0) of_row[lane_ / kWarp] = v;
    simt::block_barrier();
    const Value all = tree_reduce_any(of_row, warps);
    if constexpr (kSecondBarrier) simt::block_barrier();
    return all;
  }

  NC_DEVICE Value stepped(Value v, int step) const {
    const Value other = shuffled(v, step);
    if (Value::symmetric || (lane_ & step) == 0) return combine(v, other);
    return combine(other, v);
  }

  NC_DEVICE Value of_cluster(Value v) {
    Value* mine = scratch_->of_blocks[phase_] + simt::cluster_rank();
    if (lane_ < blocks_) *simt::of_cluster_block(mine, lane_) = v;
    simt::cluster_arrive();
    simt::cluster_wait();
    return tree_reduce_any(scratch_->of_blocks[phase_], blocks_);
  }

  ReduceScratch<Value>* scratch_;
  int lanes_, row_slot_, lane_, blocks_;
  int phase_ = 0;
};

}  // namespace NC_LEVEL
}  // namespace nc
