// The names of the kernels that a norm's calls launch.
#pragma once

#include "../core/platform.h"
#include "plugin.h"

namespace nc {
inline namespace NC_LEVEL {

int32_t describe(const CudaNorm& norm, char* to, int64_t capacity);

}  // namespace NC_LEVEL
}  // namespace nc
