// A validated norm and the kernels selected for it. Immutable except for a CUDA plan's lock-free cache of addresses, so
// threads share it without a lock.
#pragma once

#include <memory>

#include "../core/spec.h"
#include "../cpu/levels.h"
#include "cuda_plan.h"
#include "error.h"

namespace nc {

struct Plan {
  uint64_t magic;  // identifies a live plan
  NormSpec spec;
  // One of the two is set, by device.
  const CpuKernels* cpu;
  std::unique_ptr<const CudaPlan> cuda;
};

// The kernels of an NC_CPU_... level; refuses a level that this build or machine does not have.
const CpuKernels& cpu_kernels_for(int32_t level);

// The plan of a handle; refuses 0 and anything else that is not a plan.
const Plan& plan_of(int64_t handle);

// The kernels of a CPU plan, and the plan of a CUDA device. They refuse a plan of the other kind; the message names the
// function to call for it.
const CpuKernels& cpu_kernels_of(int64_t handle, const char* cuda_function);
const CudaPlan& cuda_plan_of(int64_t handle, const char* cpu_function);

const char* name_of(DType dtype);
int64_t bytes_of_compute(Compute compute);

}  // namespace nc
