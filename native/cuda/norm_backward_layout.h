// Shared memory of a backward block, in this order: reduction scratch, the weight, the dbias sums that do not fit
// registers, and the stages of rows in flight.
#pragma once

#include "../core/dtype.h"
#include "formats.cuh"
#include "parameters.h"
#include "row_reduce.cuh"

namespace nc {
inline namespace NC_LEVEL {

NC_INLINE constexpr int backward_weights_offset() { return static_cast<int>(sizeof(ReduceScratch<Sums<float, 2>>)); }
NC_INLINE int backward_weights_bytes(const BackwardParameters& p, DType weight) {
  return p.weight_staged ? p.vecs_per_thread * p.shape.lanes * words_per_vec(weight) * 16 : 0;
}
NC_INLINE int backward_bias_bytes(const BackwardParameters& p, bool shared, int threads) {
  return shared ? p.vecs_per_thread * threads * words_per_vec(DType::float32) * 16 : 0;
}
NC_INLINE int backward_stage_bytes(const BackwardParameters& p, int threads) {
  return p.rows_at_once * p.vecs_per_thread * p.staged_words * 16 * threads;
}

}  // namespace NC_LEVEL
}  // namespace nc
