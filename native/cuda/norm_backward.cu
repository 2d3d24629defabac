// The backward kernels of one combination of formats: NC_X, NC_W, NC_Y.
#include "fast_table.h"
#include "norm_backward.cuh"
#include "norm_backward_generic.cuh"

namespace nc {
inline namespace NC_LEVEL {
#define NC_THIS_DTYPES NC_DTYPES_OF(NC_X, NC_W, NC_Y)
namespace NC_THIS_DTYPES {

BackwardFunction fast_backward(bool rounds_before_weight, bool layer_norm, int vecs_per_thread) {
  return fast_kernel<BackwardFunction, DType::NC_X, DType::NC_W, DType::NC_Y>(
      rounds_before_weight, layer_norm, vecs_per_thread, [](auto rounds, auto layer, auto vecs) -> BackwardFunction {
        using F = FastFormats<DType::NC_X, DType::NC_W, DType::NC_Y, decltype(rounds)::value>;
        constexpr int vecs_per_thread = decltype(vecs)::value;
        return norm_backward<F, decltype(layer)::value, vecs_per_thread, backward_rows(vecs_per_thread)>;
      });
}

// For any policy, to limit the number of kernels.
template <bool LayerNorm>
BackwardFunction unaligned_backward_of(int vecs_per_thread) {
  return with_unaligned_backward_vecs_per_thread<BackwardFunction>(vecs_per_thread, [](auto vecs) -> BackwardFunction {
    using F = RuntimePolicyFormats<DType::NC_X, DType::NC_W, DType::NC_Y>;
    return norm_backward_unaligned<F, LayerNorm, decltype(vecs)::value>;
  });
}
BackwardFunction unaligned_backward(bool layer_norm, int vecs_per_thread) {
  return layer_norm ? unaligned_backward_of<true>(vecs_per_thread) : unaligned_backward_of<false>(vecs_per_thread);
}

BackwardFunction generic_backward() {
#if NC_TUNE_FEW_KERNELS
  return nc::generic_backward(Compute::float32);
#else
  return norm_backward_generic<CommonFormats<DType::NC_X, DType::NC_W, DType::NC_Y>>;
#endif
}

}  // namespace NC_THIS_DTYPES
}  // namespace NC_LEVEL
}  // namespace nc
