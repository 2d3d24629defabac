// A validated rotary position embedding and the kernels selected for it. Immutable and shared among threads, as norm
// plans are.
#pragma once

#include <memory>

#include "../core/spec.h"
#include "../cpu/levels.h"
#include "cuda_memory.h"

namespace nc {

// On a CUDA device.
class CudaRotary {
 public:
  // Refuses an index of no device.
  CudaRotary(const RotarySpec& spec, int32_t device);

  int32_t device() const { return device_; }
  void require_reachable(const Tensor& tensor) const { memory_.require(tensor); }
  void apply(const RotarySpec& spec, const RotaryArguments& a, int64_t stream) const;

 private:
  const CudaPlugin& plugin_;
  int32_t device_;
  ReachableMemory memory_;
};

struct RotaryPlan {
  uint64_t magic;  // identifies a live rotary plan
  RotarySpec spec;
  // One of the two is set, by device.
  const CpuKernels* cpu;
  std::unique_ptr<const CudaRotary> cuda;
};

// The plan of a handle; refuses 0 and anything else that is not a rotary plan.
const RotaryPlan& rotary_plan_of(int64_t handle);

}  // namespace nc
