// What this machine's caches hold.
#pragma once

#include <cstdint>

namespace nc {

// The bytes of one last-level cache, which the cores that share it fill together: as the processor says, or as the
// environment variable NORMCORE_CACHE_BYTES says when first asked, a positive number.
int64_t last_level_cache();

// Rows that are written past the caches begin at multiples of it.
constexpr int64_t kStreamAlignment = 32;

}  // namespace nc
