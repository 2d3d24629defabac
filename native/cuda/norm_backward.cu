// The backward kernels of one triple of formats: NC_X, NC_W, NC_Y.
#include "hot_table.h"
#include "norm_backward.cuh"
#include "norm_backward_any.cuh"

namespace nc {
inline namespace NC_LEVEL {
#define NC_THIS_TRIPLE NC_TRIPLE_OF(NC_X, NC_W, NC_Y)
namespace NC_THIS_TRIPLE {

BackwardFunction hot_backward(bool rounds_first, bool layer_norm, int kept) {
  return hot_kernel<BackwardFunction, DType::NC_X, DType::NC_W, DType::NC_Y>(
      rounds_first, layer_norm, kept, [](auto rounds, auto layer, auto octets) -> BackwardFunction {
        using F = HotFormats<DType::NC_X, DType::NC_W, DType::NC_Y, decltype(rounds)::value>;
        constexpr int kept = decltype(octets)::value;
        return norm_backward<F, decltype(layer)::value, kept, backward_rows(kept)>;
      });
}

// For any policy, to limit the number of kernels.
template <bool LayerNorm>
BackwardFunction shifted_backward_of(int kept) {
  return with_shifted_backward_kept<BackwardFunction>(kept, [](auto octets) -> BackwardFunction {
    using F = AnyPolicyFormats<DType::NC_X, DType::NC_W, DType::NC_Y>;
    return norm_backward_shifted<F, LayerNorm, decltype(octets)::value>;
  });
}
BackwardFunction shifted_backward(bool layer_norm, int kept) {
  return layer_norm ? shifted_backward_of<true>(kept) : shifted_backward_of<false>(kept);
}

BackwardFunction any_backward() { return norm_backward_any<CommonFormats<DType::NC_X, DType::NC_W, DType::NC_Y>>; }

}  // namespace NC_THIS_TRIPLE
}  // namespace NC_LEVEL
}  // namespace nc
