// The CUDA plugin, or the reason why it is unavailable. Loaded on first use; the result is kept for the process.
#pragma once

#include "../cuda/plugin.h"
#include "error.h"

namespace nc {

// The two error codes of the CUDA runtime that the library handles separately.
constexpr int32_t kCudaMemoryAllocation = 2;
constexpr int32_t kCudaInsufficientDriver = 35;

struct Cuda {
  const CudaPlugin* plugin;  // null: unavailable, see reason
  int32_t devices;           // at least 1
  char reason[kMessageBytes];
};

// Thread-safe.
const Cuda& cuda();

// The same; fails with the reason if CUDA is unavailable.
const Cuda& require_cuda();

// Refuses an index of no device.
void require_device(const Cuda& cuda, const char* name, int32_t index);

// Fails with the runtime's name and text of the error, unless it is 0. `what` names the attempted operation.
void require_success(const CudaPlugin& plugin, int32_t error, const char* what, int32_t device);

}  // namespace nc
