// A norm on a CUDA device: the kernels that the plugin selected and the cache of checked addresses.
#pragma once

#include "cuda_memory.h"

namespace nc {

class CudaPlan {
 public:
  // Refuses an index of no device.
  CudaPlan(const NormSpec& spec, int32_t device);

  int32_t device() const { return norm_.device; }

  // Refuses a tensor that kernels of this device cannot access according to the driver.
  void require_reachable(const Tensor& tensor) const { memory_.require(tensor); }

  void forward(const ForwardArguments& a, int64_t stream) const;
  void backward(const BackwardArguments& a, int64_t stream) const;
  // Writes the names of the kernels that the plan launches.
  void describe(char* text, int64_t capacity) const;
  void columns(const ColumnArguments* gradients, int32_t count, int64_t stream) const;

 private:
  const CudaPlugin& plugin_;
  ReachableMemory memory_;
  CudaNorm norm_;
};

}  // namespace nc
