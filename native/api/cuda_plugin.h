// The CUDA plugin, or why there is none. Found once, when it is first asked for; the answer is kept.
#pragma once

#include "../cuda/plugin.h"
#include "error.h"

namespace nc {

// The only numbers of the CUDA runtime that are told apart here.
constexpr int32_t kCudaMemoryAllocation = 2;
constexpr int32_t kCudaInsufficientDriver = 35;

struct Cuda {
  const CudaPlugin* plugin;  // null: not available, for the reason given
  int32_t devices;           // at least 1
  char reason[kMessageBytes];
};

// Any thread, at any time.
const Cuda& cuda();

// The same, refusing what needs CUDA where there is none.
const Cuda& require_cuda();

// Refuses an index that is no device's.
void require_device(const Cuda& cuda, const char* name, int32_t index);

// Refuses with the runtime's own name and text of the error; 0 is none. `what` has been tried on the device.
void require_success(const CudaPlugin& plugin, int32_t error, const char* what, int32_t device);

}  // namespace nc
