// Number formats and policies of the kernels, and the distribution of a row over threads.
#pragma once

#include "../core/policy.h"
#include "../core/reduction_order.h"
#include "../core/spec.h"
#include "parameters.h"
#include "vec8.cuh"

namespace nc {
inline namespace NC_LEVEL {

// Fast kernels are compiled for three formats and for whether the normalised value is rounded before the multiply by
// the weight. The rest of the policy is looked up per vector: uniform branches cost nothing beside the memory accesses,
// and a kernel for each would multiply the build time. What is merged, and why no bit changes:
// - WEIGHT runs as INPUT where input and weight have one 16-bit format: the roundings are the same.
// - With float32 weights WEIGHT rounds nothing in float32, and in float32 alone neither does INPUT: both run as COMPUTE
//   except for the sum of dweight, which there adds rounded products instead of fused ones (rounds_weight_grad).
// - Gamma's offset, and the presence of a weight or a bias, are looked up.
template <bool RoundsBeforeWeight, bool WideWeight>
struct FastPolicy {
  GammaOffset gamma_offset;
  bool rounds_weight_grad;
  NC_DEVICE ScaleRounding rounding() const {
    if (RoundsBeforeWeight) return ScaleRounding::input;
    return WideWeight && rounds_weight_grad ? ScaleRounding::weight : ScaleRounding::compute;
  }
  NC_DEVICE GammaOffset offset() const { return gamma_offset; }
};

template <DType X, DType W, DType Y, bool RoundsBeforeWeight>
struct FastFormats {
  static constexpr DType x = X, weight = W, y = Y;
  using Policy = FastPolicy<RoundsBeforeWeight, W == DType::float32>;
  static NC_DEVICE AffinePolicy<Policy, StaticFormat<X>, StaticFormat<W>> affine(const NormSpec& spec,
                                                                                 bool rounds_weight_grad) {
    return {Policy{spec.gamma_offset, rounds_weight_grad}, {}, {}};
  }
};

// The same formats under any policy, for kernels with few instances.
template <DType X, DType W, DType Y>
struct RuntimePolicyFormats {
  static constexpr DType x = X, weight = W, y = Y;
  static NC_DEVICE AffinePolicy<RuntimePolicy, StaticFormat<X>, StaticFormat<W>> affine(const NormSpec& spec, bool) {
    return {RuntimePolicy{spec.scale_rounding, spec.gamma_offset}, {}, {}};
  }
};

inline int log2_of(int power) {
  int log = 0;
  while ((1 << log) < power) ++log;
  return log;
}
inline RowShape row_shape(int64_t n) {
  return {static_cast<int>(n), static_cast<int>(vectors(n)), static_cast<int>(vectors_per_segment(n)),
          segments(n),         log2_of(segments(n)),         lanes(n),
          log2_of(lanes(n))};
}

// A thread's coordinates in its block.
struct ThreadCoord {
  int row_slot;  // index of the row in the block
  int lane;
  NC_DEVICE explicit ThreadCoord(const RowShape& shape)
      : row_slot(simt::thread_index() >> shape.lanes_log2), lane(simt::thread_index() & (shape.lanes - 1)) {}
};

// The vectors of a lane: first, first + lanes, ... below end.
struct LaneVecs {
  int first, end;
  NC_DEVICE LaneVecs(const RowShape& shape, int segment, int lane) {
    const int begin = segment * shape.vecs_per_segment;
    end = begin + shape.vecs_per_segment < shape.vecs ? begin + shape.vecs_per_segment : shape.vecs;
    first = begin + lane;
  }
};

// Number of valid elements of a vector.
NC_DEVICE int elements_of(const RowShape& shape, int vec) {
  const int left = shape.n - vec * kVecWidth;
  return left < kVecWidth ? left : kVecWidth;
}

// Loads a statistic of a row; its address may be unaligned.
template <class C>
NC_DEVICE C load_statistic(const char* values, int64_t row) {
  return values != nullptr ? simt::load_anywhere<C>(values + row * static_cast<int64_t>(sizeof(C))) : C(0);
}
template <class C>
NC_DEVICE void save_statistic(char* values, int64_t row, C value) {
  if (values != nullptr) simt::store_anywhere(values + row * static_cast<int64_t>(sizeof(C)), value);
}

}  // namespace NC_LEVEL
}  // namespace nc
