// From numbers known when a norm is prepared to the kernel that has them built in.
#pragma once

#include <type_traits>

#include "kernels.h"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

// f(kept) for the one of Kept, with a static value; null if there is none.
template <class Function, int... Kept, class F>
Function with_one_of(int kept, F f) {
  Function function = nullptr;
  ((kept == Kept ? void(function = f(std::integral_constant<int, Kept>{})) : void()), ...);
  return function;
}

// f(.., kept) as types with a static value; returns what f does, or null if there is none.
template <class Function, bool... Choices, class F>
Function with_kept(int kept, F f) {
  constexpr auto& of = kKeptOctets;
  static_assert(sizeof(of) / sizeof(of[0]) == 6);
  return with_one_of<Function, of[0], of[1], of[2], of[3], of[4], of[5]>(
      kept, [&](auto octets) { return f(std::integral_constant<bool, Choices>{}..., octets); });
}

// The same of the kernels for rows that begin anywhere.
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

// f(rounds_first, kept), where y's stand-in has the type of x: one triple for each pair of x and weight.
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
