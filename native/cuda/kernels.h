// The compiled kernels, from which kernel_selection.cu selects.
#pragma once

#include "parameters.h"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

using ForwardFunction = void (*)(ForwardParameters);
using BackwardFunction = void (*)(BackwardParameters);
using ColumnsFunction = void (*)(ColumnsParameters);

// The kernels of one combination of formats.
struct CommonKernels {
  // Null if this combination has no such kernel. vecs_per_thread: one of kVecsPerThread.
  ForwardFunction (*fast_forward)(bool rounds_before_weight, bool layer_norm, int vecs_per_thread);
  BackwardFunction (*fast_backward)(bool rounds_before_weight, bool layer_norm, int vecs_per_thread);
  // For y in FP8. Compiled for the triples in which y has the type of x.
  ForwardFunction (*fast_forward_fp8)(bool rounds_before_weight, int vecs_per_thread);
  // For unaligned rows, under any policy. vecs_per_thread: one of kUnalignedVecsPerThread.
  ForwardFunction (*unaligned_forward)(int vecs_per_thread);
  BackwardFunction (*unaligned_backward)(
      bool layer_norm, int vecs_per_thread);  // vecs_per_thread: one of kUnalignedBackwardVecsPerThread
  // For any shape, policy and address.
  ForwardFunction (*generic_forward)();
  BackwardFunction (*generic_backward)();
};

// For any formats as well.
ForwardFunction generic_forward(Compute compute);
ForwardFunction generic_forward_fp8(Compute compute);
BackwardFunction generic_backward(Compute compute);

ColumnsFunction columns_kernel(Compute compute);

// The combinations of input, weight and output format with kernels of their own. Each is compiled separately from
// norm_forward.cu and norm_backward.cu; cmake/CudaFormats.cmake has the same list.
#if NC_TUNE_FEW_KERNELS
#define NC_COMMON_FORMATS(f) f(float32, float32, float32) f(bfloat16, bfloat16, bfloat16)
#else
#define NC_COMMON_FORMATS(f)                                                                    \
  f(float32, float32, float32) f(bfloat16, bfloat16, bfloat16) f(float16, float16, float16)     \
      f(bfloat16, float32, bfloat16) f(float16, float32, float16) f(bfloat16, float32, float32) \
          f(float16, float32, float32)
#endif

#define NC_DTYPES(x, weight, y) dtypes_##x##_##weight##_##y
#define NC_DTYPES_OF(x, weight, y) NC_DTYPES(x, weight, y)
#define NC_DECLARE_DTYPES(x, weight, y)                                                              \
  namespace NC_DTYPES(x, weight, y) {                                                                \
    ForwardFunction fast_forward(bool rounds_before_weight, bool layer_norm, int vecs_per_thread);   \
    BackwardFunction fast_backward(bool rounds_before_weight, bool layer_norm, int vecs_per_thread); \
    ForwardFunction fast_forward_fp8(bool rounds_before_weight, int vecs_per_thread);                \
    ForwardFunction unaligned_forward(int vecs_per_thread);                                          \
    BackwardFunction unaligned_backward(bool layer_norm, int vecs_per_thread);                       \
    ForwardFunction generic_forward();                                                               \
    BackwardFunction generic_backward();                                                             \
  }
NC_COMMON_FORMATS(NC_DECLARE_DTYPES)
#undef NC_DECLARE_DTYPES

// Which fast kernels a combination has. If the weight is wider than the input, the policies in use round first if and
// only if the output is wide too: Hugging Face's promotes, TransformerEngine's does not round. The generic kernels
// serve the other combinations.
constexpr bool has_fast_kernels(DType x, DType weight, DType y, bool rounds_before_weight) {
  if (kFewKernels && rounds_before_weight) return false;
  if (x == DType::float32) return !rounds_before_weight;
  if (x == weight) return true;
  return rounds_before_weight == (y == DType::float32);
}

}  // namespace NC_LEVEL
}  // namespace nc
