// Memory of device 0.
#pragma once

#include "support/harness.h"

namespace harness {

// Freed at the end of a test.
class DeviceMemory {
 public:
  explicit DeviceMemory(int64_t bytes) { status_ = nc_cuda_allocate(0, bytes, &address_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;
  ~DeviceMemory() { nc_cuda_free(0, address_); }
  bool fits() const { return status_ != NC_OUT_OF_MEMORY; }
  int64_t at(int64_t byte) const {
    check(status_);
    return address_ + byte;
  }

 private:
  int64_t address_ = 0;
  int32_t status_ = NC_OK;
};

inline void copy(int64_t target, int64_t source, int64_t bytes) {
  check(nc_cuda_copy(0, target, source, bytes, 0));
  check(nc_cuda_stream_synchronize(0, 0));
}
inline int64_t addressOf(void* p) { return reinterpret_cast<int64_t>(p); }

}  // namespace harness
