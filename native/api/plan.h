// A validated operation and the kernels picked for it. Immutable, but for what a CUDA plan has seen of addresses:
// shared among threads without a lock.
#pragma once

#include <memory>

#include "../core/spec.h"
#include "../cpu/levels.h"
#include "cuda_plan.h"
#include "error.h"

namespace nc {

struct Plan {
  uint64_t mark;  // tells a plan's address from another number
  NormSpec spec;
  // One of the two, as the plan's device says.
  const CpuKernels* cpu;
  std::unique_ptr<const CudaPlan> cuda;
};

// The kernels of a vector level, as a caller names it; refuses one that this build or machine does not have.
const CpuKernels& cpu_kernels_for(int32_t level);

// The plan behind a handle; refuses 0 and what is not a plan.
const Plan& plan_of(int64_t handle);

// Of a plan of that device; refuse one of the other, naming the function that takes it.
const CpuKernels& cpu_kernels_of(int64_t handle, const char* cuda_function);
const CudaPlan& cuda_plan_of(int64_t handle, const char* cpu_function);

const char* name_of(DType dtype);
int64_t bytes_of_compute(Compute compute);

}  // namespace nc
