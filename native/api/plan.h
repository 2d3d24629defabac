// A validated operation and the kernels picked for it. Immutable: shared among threads without a lock.
#pragma once

#include "../core/spec.h"
#include "../cpu/levels.h"
#include "error.h"

namespace nc {

struct Plan {
  uint64_t mark;  // tells a plan's address from another number
  NormSpec spec;
  const CpuKernels* kernels;
};

// The plan behind a handle; refuses 0 and what is not a plan.
const Plan& plan_of(int64_t handle);

const char* name_of(DType dtype);
int64_t bytes_of_compute(Compute compute);

}  // namespace nc
