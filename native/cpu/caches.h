// Cache size of this machine.
#pragma once

#include <cstdint>

namespace nc {

// Bytes of one last-level cache, shared by its cores. The environment variable NORMCORE_CACHE_BYTES, if positive,
// overrides what the processor reports. Read once, on the first call.
int64_t last_level_cache();

// Alignment of rows that are written with non-temporal stores.
constexpr int64_t kNonTemporalAlignment = 32;

}  // namespace nc
