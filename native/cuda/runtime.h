// The part of the plugin's table that wraps the CUDA runtime: devices, memory, streams. plugin.h defines signatures and
// errors. This header includes no CUDA header: the test simulator has its own implementation.
#pragma once

#include <cstdint>

#include "plugin.h"

namespace nc {
namespace cuda_runtime {

int32_t device_count(int32_t* count);
int32_t device(int32_t index, CudaDevice* answer);
const char* error_name(int32_t error);
const char* error_text(int32_t error);
int32_t allocate(int32_t device, int64_t bytes, int64_t* address);
int32_t free(int32_t device, int64_t address);
int32_t copy(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream);
int32_t zero(int32_t device, int64_t address, int64_t bytes, int64_t stream);
int32_t stream_create(int32_t device, int64_t* stream);
int32_t stream_destroy(int32_t device, int64_t stream);
int32_t stream_synchronize(int32_t device, int64_t stream);
int32_t memory_device(int64_t address, int32_t* device);
int32_t host_allocate(int64_t bytes, int64_t* address);
int32_t host_free(int64_t address);

// Makes a device current for the calling thread and restores the previous one in the destructor.
class CurrentDevice {
 public:
  explicit CurrentDevice(int32_t device);
  CurrentDevice(const CurrentDevice&) = delete;
  CurrentDevice& operator=(const CurrentDevice&) = delete;
  ~CurrentDevice();
  // 0, or the error of making the device current, which every call in this scope returns immediately.
  int32_t error() const { return error_; }

 private:
  int32_t previous_;  // or -1: nothing to restore
  int32_t error_;
};

}  // namespace cuda_runtime
}  // namespace nc
