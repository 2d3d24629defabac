// The forward kernels of one triple of formats: NC_X, NC_W, NC_Y.
#include "hot_table.h"
#include "norm_forward.cuh"
#include "norm_forward_any.cuh"

namespace nc {
inline namespace NC_LEVEL {
#define NC_THIS_TRIPLE NC_TRIPLE_OF(NC_X, NC_W, NC_Y)
namespace NC_THIS_TRIPLE {

ForwardFunction hot_forward(bool rounds_first, bool layer_norm, int kept) {
  return hot_kernel<ForwardFunction, DType::NC_X, DType::NC_W, DType::NC_Y>(
      rounds_first, layer_norm, kept, [](auto rounds, auto layer, auto octets) -> ForwardFunction {
        using F = HotFormats<DType::NC_X, DType::NC_W, DType::NC_Y, decltype(rounds)::value>;
        return norm_forward<F, decltype(layer)::value, decltype(octets)::value>;
      });
}

ForwardFunction any_forward() { return norm_forward_any<CommonFormats<DType::NC_X, DType::NC_W, DType::NC_Y>>; }

}  // namespace NC_THIS_TRIPLE
}  // namespace NC_LEVEL
}  // namespace nc
