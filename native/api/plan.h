// Plans: a validated spec and what was selected for it. One template for norms, rotary position embeddings and FP8
// conversions. Immutable except for a CUDA plan's lock-free cache of addresses, so threads share it without a lock.
#pragma once

#include <cinttypes>
#include <memory>

#include "../core/spec.h"
#include "../cpu/levels.h"
#include "cuda_memory.h"
#include "structure.h"

namespace nc {

// A kind of plan: its structures and functions.
struct NormKind {
  static constexpr uint64_t kMagic = 0x6e6f726d636f7265ull;  // "normcore"
  static constexpr char kCreate[] = "nc_norm_plan_create";
  using Structure = nc_norm_spec;
  static constexpr size_t kFirstVersion = offsetof(nc_norm_spec, y_scaling);
  using Spec = NormSpec;
  struct Cpu {
    CpuForward forward;
    CpuBackward backward;
    CpuColumns columns;
  };
  using Cuda = CudaNorm;

  static Spec validated(const nc_norm_spec& s);
  static Cpu select(const CpuKernels& kernels, const Spec& spec) {
    return {kernels.select_forward(spec), kernels.select_backward(spec), kernels.select_columns(spec)};
  }
  static int32_t prepare(const CudaPlugin& plugin, int32_t device, const Spec& spec, Cuda* prepared) {
    return plugin.prepare(device, spec, prepared);
  }
};

struct RotaryKind {
  static constexpr uint64_t kMagic = 0x726f746174696f6eull;  // "rotation"
  static constexpr char kCreate[] = "nc_rotary_plan_create";
  using Structure = nc_rotary_spec;
  static constexpr size_t kFirstVersion = sizeof(nc_rotary_spec);
  using Spec = RotarySpec;
  using Cpu = CpuRotary;
  struct Cuda {};

  static Spec validated(const nc_rotary_spec& s);
  static Cpu select(const CpuKernels& kernels, const Spec& spec) { return kernels.select_rotary(spec); }
  static int32_t prepare(const CudaPlugin& plugin, int32_t device, const Spec& spec, Cuda*) {
    return plugin.rotary_prepare(device, spec);
  }
};

struct Fp8Kind {
  static constexpr uint64_t kMagic = 0x6670382d706c616eull;  // "fp8-plan"
  static constexpr char kCreate[] = "nc_fp8_plan_create";
  using Structure = nc_fp8_spec;
  static constexpr size_t kFirstVersion = sizeof(nc_fp8_spec);
  using Spec = Fp8Spec;
  using Cpu = CpuFp8;
  struct Cuda {};

  static Spec validated(const nc_fp8_spec& s);
  static Cpu select(const CpuKernels& kernels, const Spec& spec) { return kernels.select_fp8(spec); }
  static int32_t prepare(const CudaPlugin&, int32_t, const Spec&, Cuda*) { return 0; }
};

// The part of a plan for a CUDA device.
template <class Kind>
struct CudaPlan {
  const CudaPlugin& plugin;
  int32_t device;
  ReachableMemory memory;
  typename Kind::Cuda prepared;

  // Fails unless the plugin's error is 0. `what` names the attempted operation.
  void require(int32_t error, const char* what) const { require_success(plugin, error, what, device); }
};

template <class Kind>
struct Plan {
  uint64_t magic;  // identifies a live plan
  typename Kind::Spec spec;
  typename Kind::Cpu cpu;                      // for the CPU
  std::unique_ptr<const CudaPlan<Kind>> cuda;  // null for the CPU
};
using NormPlan = Plan<NormKind>;
using RotaryPlan = Plan<RotaryKind>;
using Fp8Plan = Plan<Fp8Kind>;

[[noreturn]] void refuse_handle(int64_t handle, const char* create);

// The plan of a handle; refuses 0 and anything else that is not a plan of this kind.
template <class Kind>
const Plan<Kind>& plan_of(int64_t handle) {
  const auto* plan = reinterpret_cast<const Plan<Kind>*>(handle);
  if (handle == 0 || handle % static_cast<int64_t>(alignof(Plan<Kind>)) != 0 || plan->magic != Kind::kMagic) {
    refuse_handle(handle, Kind::kCreate);
  }
  return *plan;
}

// Refuses a type that FP8 conversions do not read or write.
void require_wide(const char* name, DType dtype);

const char* name_of(DType dtype);

}  // namespace nc
