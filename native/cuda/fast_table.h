// Selects a kernel template instance from run-time values when a norm is prepared.
#pragma once

#include <type_traits>

#include "kernels.h"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

// Calls f(kept) with the matching element of Kept as an integral_constant; returns null if there is none.
template <class Function, int... VecsPerThread, class F>
Function with_one_of(int vecs_per_thread, F f) {
  Function function = nullptr;
  ((vecs_per_thread == VecsPerThread ? void(function = f(std::integral_constant<int, VecsPerThread>{})) : void()), ...);
  return function;
}

// Calls f(.., vecs_per_thread) with integral_constant arguments; returns f's result, or null if no instance matches.
template <class Function, bool... Choices, class F>
Function with_vecs_per_thread(int vecs_per_thread, F f) {
  return with_one_of<Function, NC_TUNE_VECS_PER_THREAD>(
      vecs_per_thread, [&](auto vecs) { return f(std::integral_constant<bool, Choices>{}..., vecs); });
}

// The same for the kernels of unaligned rows.
template <class Function, class F>
Function with_unaligned_vecs_per_thread(int vecs_per_thread, F f) {
  if constexpr (kFewKernels) {
    return nullptr;
  } else {
    return with_one_of<Function, NC_TUNE_UNALIGNED_VECS_PER_THREAD>(vecs_per_thread, f);
  }
}
template <class Function, class F>
Function with_unaligned_backward_vecs_per_thread(int vecs_per_thread, F f) {
  if constexpr (kFewKernels) {
    return nullptr;
  } else {
    return with_one_of<Function, NC_TUNE_UNALIGNED_BACKWARD_VECS_PER_THREAD>(vecs_per_thread, f);
  }
}

// f(rounds_before_weight, layer_norm, vecs_per_thread)
template <class Function, DType X, DType W, DType Y, class F>
Function fast_kernel(bool rounds_before_weight, bool layer_norm, int vecs_per_thread, F f) {
  if constexpr (has_fast_kernels(X, W, Y, true)) {
    if (rounds_before_weight && layer_norm) return with_vecs_per_thread<Function, true, true>(vecs_per_thread, f);
    if (rounds_before_weight) return with_vecs_per_thread<Function, true, false>(vecs_per_thread, f);
  }
  if constexpr (has_fast_kernels(X, W, Y, false)) {
    if (!rounds_before_weight && layer_norm) return with_vecs_per_thread<Function, false, true>(vecs_per_thread, f);
    if (!rounds_before_weight) return with_vecs_per_thread<Function, false, false>(vecs_per_thread, f);
  }
  return nullptr;
}

// f(rounds_before_weight, vecs_per_thread). Y stands in for the FP8 y and equals X: one combination for each pair of x
// and weight.
template <class Function, DType X, DType Y, class F>
Function fast_fp8_kernel(bool rounds_before_weight, int vecs_per_thread, F f) {
  if constexpr (X == Y && !kFewKernels) {
    if (!rounds_before_weight) return with_vecs_per_thread<Function, false>(vecs_per_thread, f);
    if constexpr (X != DType::float32) return with_vecs_per_thread<Function, true>(vecs_per_thread, f);
  }
  return nullptr;
}

}  // namespace NC_LEVEL
}  // namespace nc
