// A validated rotary position embedding and the kernels picked for it. Immutable and shared among threads, as the plans
// of norms are.
#pragma once

#include <memory>

#include "../core/spec.h"
#include "../cpu/levels.h"
#include "cuda_memory.h"

namespace nc {

// On a CUDA device.
class CudaRotary {
 public:
  // Refuses what is no device's index.
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
  uint64_t mark;  // tells its address from that of another plan, and from another number
  RotarySpec spec;
  // One of the two, as the plan's device says.
  const CpuKernels* cpu;
  std::unique_ptr<const CudaRotary> cuda;
};

// The plan behind a handle; refuses 0 and what is not a plan of this kind.
const RotaryPlan& rotary_plan_of(int64_t handle);

}  // namespace nc
