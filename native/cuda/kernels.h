// The compiled kernels, from which plugin.cu selects.
#pragma once

#include "parameters.h"

namespace nc {
inline namespace NC_LEVEL {

using ForwardFunction = void (*)(ForwardParameters);
using BackwardFunction = void (*)(BackwardParameters);
using ColumnsFunction = void (*)(ColumnsParameters);

// The kernels of one triple of formats.
struct CommonKernels {
  // Null if this triple has no such kernel. kept: one of kKeptOctets.
  ForwardFunction (*hot_forward)(bool rounds_first, bool layer_norm, int kept);
  BackwardFunction (*hot_backward)(bool rounds_first, bool layer_norm, int kept);
  // For y in FP8. Compiled for the triples in which y has the type of x.
  ForwardFunction (*hot_forward_fp8)(bool rounds_first, int kept);
  // For unaligned rows, under any policy. kept: one of kShiftedKeptOctets.
  ForwardFunction (*shifted_forward)(int kept);
  BackwardFunction (*shifted_backward)(bool layer_norm, int kept);  // kept: one of kShiftedBackwardOctets
  // For any shape, policy and address.
  ForwardFunction (*any_forward)();
  BackwardFunction (*any_backward)();
};

// For any formats as well.
ForwardFunction any_forward(Compute compute);
ForwardFunction any_forward_fp8(Compute compute);
BackwardFunction any_backward(Compute compute);

ColumnsFunction columns_kernel(Compute compute);

// The triples of input, weight and output format with kernels of their own. Each is compiled separately from
// norm_forward.cu and norm_backward.cu; cmake/CudaFormats.cmake has the same list.
#define NC_COMMON_FORMATS(f)                                                                    \
  f(float32, float32, float32) f(bfloat16, bfloat16, bfloat16) f(float16, float16, float16)     \
      f(bfloat16, float32, bfloat16) f(float16, float32, float16) f(bfloat16, float32, float32) \
          f(float16, float32, float32)

#define NC_TRIPLE(x, weight, y) triple_##x##_##weight##_##y
#define NC_TRIPLE_OF(x, weight, y) NC_TRIPLE(x, weight, y)
#define NC_DECLARE_TRIPLE(x, weight, y)                                          \
  namespace NC_TRIPLE(x, weight, y) {                                            \
    ForwardFunction hot_forward(bool rounds_first, bool layer_norm, int kept);   \
    BackwardFunction hot_backward(bool rounds_first, bool layer_norm, int kept); \
    ForwardFunction hot_forward_fp8(bool rounds_first, int kept);                \
    ForwardFunction shifted_forward(int kept);                                   \
    BackwardFunction shifted_backward(bool layer_norm, int kept);                \
    ForwardFunction any_forward();                                               \
    BackwardFunction any_backward();                                             \
  }
NC_COMMON_FORMATS(NC_DECLARE_TRIPLE)
#undef NC_DECLARE_TRIPLE

// Which fast kernels a triple has. If the weight is wider than the input, the policies in use round first if and only
// if the output is wide too: Hugging Face's promotes, TransformerEngine's does not round. The generic kernels serve the
// other combinations.
constexpr bool has_hot_kernels(DType x, DType weight, DType y, bool rounds_first) {
  if (x == DType::float32) return !rounds_first;
  if (x == weight) return true;
  return rounds_first == (y == DType::float32);
}

}  // namespace NC_LEVEL
}  // namespace nc
