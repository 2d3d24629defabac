// The kernels of the level being compiled.
#include "kernels.h"

namespace nc {
inline namespace NC_LEVEL {
extern const CpuKernels kernels;
const CpuKernels kernels = {select_forward, select_backward, select_columns, select_rotary, select_fp8, copy};
}  // namespace NC_LEVEL
}  // namespace nc
