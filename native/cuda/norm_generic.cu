// The kernels for any formats, in either compute type.
#include "kernels.h"
#include "norm_backward_generic.cuh"
#include "norm_forward_generic.cuh"

namespace nc {
inline namespace NC_LEVEL {

ForwardFunction generic_forward(Compute compute) {
  return compute == Compute::float64 ? norm_forward_generic<RuntimeFormats<double>, false>
                                     : norm_forward_generic<RuntimeFormats<float>, false>;
}

ForwardFunction generic_forward_fp8(Compute compute) {
  return compute == Compute::float64 ? norm_forward_generic<RuntimeFormats<double>, true>
                                     : norm_forward_generic<RuntimeFormats<float>, true>;
}

BackwardFunction generic_backward(Compute compute) {
  return compute == Compute::float64 ? norm_backward_generic<RuntimeFormats<double>>
                                     : norm_backward_generic<RuntimeFormats<float>>;
}

}  // namespace NC_LEVEL
}  // namespace nc
