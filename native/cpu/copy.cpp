// A copy at memory bandwidth, the reference for the speed of the kernels.
#include "kernels.h"
#include "vec8.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Prefetches a page at a time, one page ahead of the stores. Shorter and longer distances, and 2 and 4 interleaved
// pages, were slower or equal within noise.
constexpr int64_t kPage = 4096;
constexpr int64_t kLine = 64;

}  // namespace

void copy(char* to, const char* from, int64_t bytes) {
  const int64_t ahead = static_cast<int64_t>(-reinterpret_cast<uintptr_t>(to) % kLine);
  int64_t done = ahead < bytes ? ahead : bytes;
  memcpy(to, from, static_cast<size_t>(done));
  for (; done + kPage <= bytes; done += kPage) {
    for (int64_t i = 0; i < kPage && done + kPage + i < bytes; i += kLine) {
      __builtin_prefetch(from + done + kPage + i);
    }
    for (int64_t i = 0; i < kPage; i += static_cast<int64_t>(sizeof(U32x8))) {
      store_non_temporal(to + done + i, load_raw<U32x8>(from + done + i));
    }
  }
  store_fence();
  memcpy(to + done, from + done, static_cast<size_t>(bytes - done));
}

}  // namespace NC_LEVEL
}  // namespace nc
