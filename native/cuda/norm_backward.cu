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
        return norm_backward<F, decltype(layer)::value, decltype(octets)::value>;
      });
}

BackwardFunction any_backward() { return norm_backward_any<CommonFormats<DType::NC_X, DType::NC_W, DType::NC_Y>>; }

}  // namespace NC_THIS_TRIPLE
}  // namespace NC_LEVEL
}  // namespace nc
