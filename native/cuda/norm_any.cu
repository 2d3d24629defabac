// The kernels for any formats, in either compute type.
#include "kernels.h"
#include "norm_backward_any.cuh"
#include "norm_forward_any.cuh"

namespace nc {
inline namespace NC_LEVEL {

ForwardFunction any_forward(Compute compute) {
  return compute == Compute::float64 ? norm_forward_any<RuntimeFormats<double>, false>
                                     : norm_forward_any<RuntimeFormats<float>, false>;
}

ForwardFunction any_forward_fp8(Compute compute) {
  return compute == Compute::float64 ? norm_forward_any<RuntimeFormats<double>, true>
                                     : norm_forward_any<RuntimeFormats<float>, true>;
}

BackwardFunction any_backward(Compute compute) {
  return compute == Compute::float64 ? norm_backward_any<RuntimeFormats<double>>
                                     : norm_backward_any<RuntimeFormats<float>>;
}

}  // namespace NC_LEVEL
}  // namespace nc
