// Selects a kernel template instance from run-time values when a norm is prepared.
#pragma once

#include <type_traits>

#include "kernels.h"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

// Calls f(kept) with the matching element of Kept as an integral_constant; returns null if there is none.
template <class Function, int... Kept, class F>
Function with_one_of(int kept, F f) {
  Function function = nullptr;
  ((kept == Kept ? void(function = f(std::integral_constant<int, Kept>{})) : void()), ...);
  return function;
}

// Calls f(.., kept) with integral_constant arguments; returns f's result, or null if no instance matches.
template <class Function, bool... Choices, class F>
Function with_kept(int kept, F f) {
  constexpr auto& of = kKeptOctets;
  static_assert(sizeof(of) / sizeof(of[0]) == 6);
  return with_one_of<Function, of[0], of[1], of[2], of[3], of[4], of[5]>(
      kept, [&](auto octets) { return f(std::integral_constant<bool, Choices>{}..., octets); });
}

// The same for the kernels of unaligned rows.
template <class Function, class F>
Function with_shifted_kept(int kept, F f) {
  constexpr auto& of = kShiftedKeptOctets;
  static_assert(sizeof(of) / sizeof(of[0]) == 4);
  return with_one_of<Function, of[0], of[1], of[2], of[3]>(kept, f);
}
template <class Function, class F>
Function with_shifted_backward_kept(int kept, F f) {
  constexpr auto& of = kShiftedBackwardOctets;
  static_assert(sizeof(of) / sizeof(of[0]) == 2);
  return with_one_of<Function, of[0], of[1]>(kept, f);
}

// f(rounds_first, layer_norm, kept)
template <class Function, DType X, DType W, DType Y, class F>
Function hot_kernel(bool rounds_first, bool layer_norm, int kept, F f) {
  if constexpr (has_hot_kernels(X, W, Y, true)) {
    if (rounds_first && layer_norm) return with_kept<Function, true, true>(kept, f);
    if (rounds_first) return with_kept<Function, true, false>(kept, f);
  }
  if constexpr (has_hot_kernels(X, W, Y, false)) {
    if (!rounds_first && layer_norm) return with_kept<Function, false, true>(kept, f);
    if (!rounds_first) return with_kept<Function, false, false>(kept, f);
  }
  return nullptr;
}

// f(rounds_first, kept). Y stands in for the FP8 y and equals X: one triple for each pair of x and weight.
template <class Function, DType X, DType Y, class F>
Function hot_fp8_kernel(bool rounds_first, int kept, F f) {
  if constexpr (X == Y) {
    if (!rounds_first) return with_kept<Function, false>(kept, f);
    if constexpr (X != DType::float32) return with_kept<Function, true>(kept, f);
  }
  return nullptr;
}

}  // namespace NC_LEVEL
}  // namespace nc
