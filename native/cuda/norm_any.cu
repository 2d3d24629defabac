// The kernels for any formats, in either compute type.
#include "kernels.h"
#include "norm_backward_any.cuh"
#include "norm_forward_any.cuh"

namespace nc {
inline namespace NC_LEVEL {

ForwardFunction any_forward(Compute compute) {
  return compute == Compute::float64 ? norm_forward_any<RuntimeFormats<double>>
                                     : norm_forward_any<RuntimeFormats<float>>;
}

BackwardFunction any_backward(Compute compute) {
  return compute == Compute::float64 ? norm_backward_any<RuntimeFormats<double>>
                                     : norm_backward_any<RuntimeFormats<float>>;
}

}  // namespace NC_LEVEL
}  // namespace nc
