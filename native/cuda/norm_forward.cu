// The forward kernels of one combination of formats: NC_X, NC_W, NC_Y.
#include "fast_table.h"
#include "norm_forward.cuh"
#include "norm_forward_generic.cuh"

namespace nc {
inline namespace NC_LEVEL {
#define NC_THIS_DTYPES NC_DTYPES_OF(NC_X, NC_W, NC_Y)
namespace NC_THIS_DTYPES {

ForwardFunction fast_forward(bool rounds_before_weight, bool layer_norm, int vecs_per_thread) {
  return fast_kernel<ForwardFunction, DType::NC_X, DType::NC_W, DType::NC_Y>(
      rounds_before_weight, layer_norm, vecs_per_thread, [](auto rounds, auto layer, auto vecs) -> ForwardFunction {
        using F = FastFormats<DType::NC_X, DType::NC_W, DType::NC_Y, decltype(rounds)::value>;
        constexpr int vecs_per_thread = decltype(vecs)::value;
        return norm_forward<F, StaticNorm<decltype(layer)::value>, vecs_per_thread,
                            forward_rows(words_per_vec(F::x), vecs_per_thread)>;
      });
}

// The format of y and the norm are looked up at run time: a few branches beside the memory accesses, for fewer kernels.
ForwardFunction fast_forward_fp8(bool rounds_before_weight, int vecs_per_thread) {
  return fast_fp8_kernel<ForwardFunction, DType::NC_X, DType::NC_Y>(
      rounds_before_weight, vecs_per_thread, [](auto rounds, auto vecs) -> ForwardFunction {
        using F = FastFormats<DType::NC_X, DType::NC_W, DType::float8_e4m3, decltype(rounds)::value>;
        return norm_forward<F, RuntimeNorm, decltype(vecs)::value, 1>;
      });
}

// For any policy and either norm, for the same reason.
ForwardFunction unaligned_forward(int vecs_per_thread) {
  return with_unaligned_vecs_per_thread<ForwardFunction>(vecs_per_thread, [](auto vecs) -> ForwardFunction {
    constexpr int rows = forward_rows(words_per_vec(DType::NC_X), decltype(vecs)::value);
    return norm_forward_unaligned<RuntimePolicyFormats<DType::NC_X, DType::NC_W, DType::NC_Y>, decltype(vecs)::value,
                                  rows>;
  });
}

ForwardFunction generic_forward() {
#if NC_TUNE_FEW_KERNELS
  return nc::generic_forward(Compute::float32);
#else
  return norm_forward_generic<CommonFormats<DType::NC_X, DType::NC_W, DType::NC_Y>, false>;
#endif
}

}  // namespace NC_THIS_DTYPES
}  // namespace NC_LEVEL
}  // namespace nc
