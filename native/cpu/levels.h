// Vector levels: which of them this build has and this machine supports.
#pragma once

#include "kernels.h"

namespace nc {

// The values are those of normcore.h.
enum class CpuLevel : int32_t { best, plain, avx2, avx512, neon };

const char* name_of(CpuLevel level);

// Null if this build has no such level or this machine cannot run it. `best` is never null.
const CpuKernels* kernels_of(CpuLevel level);

CpuLevel best_level();

}  // namespace nc
