#include "caches.h"

#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__linux__)
#include <unistd.h>
#endif

namespace nc {
namespace {

// Assumed if the size is unknown.
constexpr int64_t kTypical = int64_t{32} << 20;

#if defined(__x86_64__)
// The largest cache that a CPUID cache leaf describes. sysconf does not serve: on AMD processors it returns the sum of
// all L3 caches of a socket, of which a core uses one.
int64_t largest_of_leaf(unsigned leaf) {
  int64_t largest = 0;
  for (unsigned index = 0; index < 16; ++index) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    __cpuid_count(leaf, index, a, b, c, d);
    const unsigned type = a & 0x1f;
    if (type == 0) break;
    const int64_t line = (b & 0xfff) + 1, partitions = (b >> 12 & 0x3ff) + 1, ways = (b >> 22) + 1;
    const int64_t bytes = line * partitions * ways * (static_cast<int64_t>(c) + 1);
    if (bytes > largest) largest = bytes;
  }
  return largest;
}

int64_t measured() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned intel = 4, amd = 0x8000001d, amd_features = 0x80000001, has_leaf = 1u << 22;
  __cpuid(0x80000000, a, b, c, d);
  if (a >= amd) {
    __cpuid(amd_features, a, b, c, d);
    if ((c & has_leaf) != 0) return largest_of_leaf(amd);
  }
  __cpuid(0, a, b, c, d);
  return a >= intel ? largest_of_leaf(intel) : 0;
}
#elif defined(__linux__) && defined(_SC_LEVEL3_CACHE_SIZE)
int64_t measured() { return sysconf(_SC_LEVEL3_CACHE_SIZE); }
#else
int64_t measured() { return 0; }
#endif

}  // namespace

int64_t last_level_cache() {
  static const int64_t bytes = []() -> int64_t {
    const char* const wanted = std::getenv("NORMCORE_CACHE_BYTES");
    const int64_t wish = wanted == nullptr ? 0 : std::strtoll(wanted, nullptr, 10);
    if (wish > 0) return wish;
    const int64_t said = measured();
    return said > 0 ? said : kTypical;
  }();
  return bytes;
}

}  // namespace nc
