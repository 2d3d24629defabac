// Links a variant's library without CPU kernels, which device plans do not call.
#include "cpu/kernels.h"

namespace nc {
namespace plain {
extern const CpuKernels kernels;
const CpuKernels kernels = {};
}  // namespace plain
}  // namespace nc
