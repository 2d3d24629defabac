// A norm on a CUDA device: what the plugin prepared, and which addresses it is known to reach.
#pragma once

#include "cuda_memory.h"

namespace nc {

class CudaPlan {
 public:
  // Refuses what is no device's index.
  CudaPlan(const NormSpec& spec, int32_t device);

  int32_t device() const { return norm_.device; }

  // Refuses a tensor whose memory the driver knows kernels of this device not to reach.
  void require_reachable(const Tensor& tensor) const { memory_.require(tensor); }

  void forward(const ForwardArguments& a, int64_t stream) const;
  void backward(const BackwardArguments& a, int64_t stream) const;
  // Which kernels are launched, as text.
  void describe(char* text, int64_t capacity) const;
  void columns(const ColumnArguments* gradients, int32_t count, int64_t stream) const;

 private:
  const CudaPlugin& plugin_;
  ReachableMemory memory_;
  CudaNorm norm_;
};

}  // namespace nc
