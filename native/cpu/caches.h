// What this machine's caches hold.
#pragma once

#include <cstdint>

namespace nc {

// The bytes of one last-level cache, which the cores that share it fill together.
int64_t last_level_cache();

}  // namespace nc
