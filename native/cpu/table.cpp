// The kernels of the level being compiled.
#include "kernels.h"

namespace nc {
inline namespace NC_LEVEL {
extern const CpuKernels kernels;
const CpuKernels kernels = {norm_forward, norm_backward, norm_columns,   rotary,
                            fp8_amax,     fp8_quantize,  fp8_dequantize, copy};
}  // namespace NC_LEVEL
}  // namespace nc
