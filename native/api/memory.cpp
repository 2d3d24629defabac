// Memory for callers that have none of their own.
#include <cinttypes>
#include <cstdlib>

#include "error.h"

namespace {
constexpr int64_t kAlignment = 64;
}

extern "C" int32_t nc_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (bytes < 0 || bytes > INT64_MAX - kAlignment) {
      nc::fail(NC_INVALID_ARGUMENT, "bytes: %" PRId64 ", expected at least 0 and within the address space", bytes);
    }
    if (address == nullptr) nc::fail(NC_INVALID_ARGUMENT, "address: null, expected where to write the address");
    const int64_t rounded = bytes == 0 ? kAlignment : (bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* memory = std::aligned_alloc(kAlignment, static_cast<size_t>(rounded));
    if (memory == nullptr) nc::fail(NC_OUT_OF_MEMORY, "%" PRId64 " bytes could not be allocated", bytes);
    *address = reinterpret_cast<int64_t>(memory);
  });
}

extern "C" int32_t nc_free(int64_t address) NC_NOEXCEPT {
  std::free(reinterpret_cast<void*>(address));
  return NC_OK;
}
