#include "plan.h"

#include <cinttypes>
#include <cmath>

#include "../core/fp8_scale.h"

namespace nc {
namespace {

// The core's enumerations are cast from the header's numbers.
static_assert(static_cast<int32_t>(DType::float8_e8m0) == NC_FLOAT8_E8M0);
static_assert(static_cast<int32_t>(ScaleRounding::weight) == NC_ROUND_WEIGHT);
static_assert(static_cast<int32_t>(GammaOffset::one_in_weight) == NC_GAMMA_ONE_IN_WEIGHT);
static_assert(static_cast<int32_t>(Variance::sum_of_squares) == NC_VARIANCE_SUM_OF_SQUARES);
static_assert(static_cast<int32_t>(Scaling::tensor) == NC_SCALING_TENSOR);
static_assert(static_cast<int32_t>(Scaling::row) == NC_SCALING_ROW);
static_assert(static_cast<int32_t>(Scaling::block) == NC_SCALING_BLOCK);
static_assert(static_cast<int32_t>(RotaryLayout::interleaved) == NC_ROTARY_INTERLEAVED);
static_assert(static_cast<int32_t>(RotaryRounding::input) == NC_ROTARY_ROUND_INPUT);
static_assert(kScaleBlock == NC_SCALE_BLOCK);

constexpr uint64_t kPlanMagic = 0x6e6f726d636f7265ull;  // "normcore"

DType norm_dtype(const char* name, int32_t value) {
  require_range(name, value, NC_FLOAT8_E8M0);
  if (value > NC_FLOAT16) {
    fail(NC_UNSUPPORTED, "%s: %s is not supported by norms, expected float64, float32, bfloat16 or float16", name,
         name_of(static_cast<DType>(value)));
  }
  return static_cast<DType>(value);
}

NormSpec validated(const nc_norm_spec& s) {
  require_range("op", s.op, NC_LAYER_NORM);
  require_range("affine", s.affine, NC_AFFINE_WEIGHT_AND_BIAS);
  require_range("scale_rounding", s.scale_rounding, NC_ROUND_WEIGHT);
  require_range("gamma_offset", s.gamma_offset, NC_GAMMA_ONE_IN_WEIGHT);
  require_range("variance", s.variance, NC_VARIANCE_SUM_OF_SQUARES);
  require_range("compute", s.compute, NC_COMPUTE_FLOAT64);
  require_range("residual_rounding", s.residual_rounding, NC_RESIDUAL_COMPUTE);
  if (s.op == NC_RMS_NORM && s.variance != NC_VARIANCE_TWO_PASS) {
    fail(NC_INVALID_ARGUMENT, "variance: %d, but RMSNorm has no variance algorithm, expected 0 (two-pass)", s.variance);
  }
  if (s.hidden_size < 1 || s.hidden_size > NC_MAX_HIDDEN_SIZE) {
    fail(NC_INVALID_ARGUMENT, "hidden_size: %" PRId64 ", expected 1 to %d", s.hidden_size, NC_MAX_HIDDEN_SIZE);
  }
  if (!std::isfinite(s.epsilon) || s.epsilon < 0) {
    fail(NC_INVALID_ARGUMENT, "epsilon: %g, expected a finite number of at least 0", s.epsilon);
  }
  NormSpec spec{};
  spec.op = static_cast<Op>(s.op);
  spec.x = norm_dtype("x_dtype", s.x_dtype);
  spec.weight = norm_dtype("weight_dtype", s.weight_dtype);
  if (s.y_dtype == NC_FLOAT8_E4M3 || s.y_dtype == NC_FLOAT8_E5M2) {
    require_range("y_scaling", s.y_scaling, NC_SCALING_BLOCK);
    if (s.y_scaling == NC_SCALING_NONE) {
      fail(NC_INVALID_ARGUMENT, "y_scaling: 0 (none), expected 1 to 3: y is %s",
           name_of(static_cast<DType>(s.y_dtype)));
    }
    require_range("y_power_of_two", s.y_power_of_two, s.y_scaling == NC_SCALING_ROW ? 1 : 0);
    spec.scaling = static_cast<Scaling>(s.y_scaling);
    spec.quantized = static_cast<DType>(s.y_dtype);
    spec.power_of_two = s.y_power_of_two != 0;
    spec.y = norm_dtype("dy_dtype", s.dy_dtype);
  } else {
    spec.y = norm_dtype("y_dtype", s.y_dtype);
    require_range("y_scaling", s.y_scaling, NC_SCALING_NONE);
    require_range("y_power_of_two", s.y_power_of_two, 0);
  }
  spec.has_weight = (s.affine & NC_AFFINE_WEIGHT) != 0;
  spec.has_bias = (s.affine & NC_AFFINE_BIAS) != 0;
  if (s.affine == NC_AFFINE_NONE) spec.weight = spec.x;
  spec.scale_rounding = static_cast<ScaleRounding>(s.scale_rounding);
  spec.gamma_offset = static_cast<GammaOffset>(s.gamma_offset);
  spec.variance = static_cast<Variance>(s.variance);
  spec.compute = static_cast<Compute>(s.compute);
  spec.residual_rounding = static_cast<ResidualRounding>(s.residual_rounding);
  spec.hidden_size = s.hidden_size;
  spec.epsilon = s.epsilon;
  return spec;
}

std::unique_ptr<Plan> planned(const nc_norm_spec& s) {
  std::unique_ptr<Plan> plan(new Plan{kPlanMagic, validated(s), nullptr, nullptr});
  require_range("device_type", s.device_type, NC_DEVICE_CUDA);
  if (s.device_type == NC_DEVICE_CPU) {
    if (s.device_index != 0) fail(NC_INVALID_ARGUMENT, "device_index: %d, expected 0 for the CPU", s.device_index);
    plan->cpu = &cpu_kernels_for(s.cpu_level);
  } else {
    if (s.cpu_level != NC_CPU_BEST) {
      fail(NC_INVALID_ARGUMENT, "cpu_level: %d, expected 0 (best) for a CUDA device", s.cpu_level);
    }
    plan->cuda = std::make_unique<const CudaPlan>(plan->spec, s.device_index);
  }
  return plan;
}

}  // namespace

const CpuKernels& cpu_kernels_for(int32_t level) {
  require_range("cpu_level", level, NC_CPU_NEON);
  const CpuLevel wanted = static_cast<CpuLevel>(level);
  const CpuKernels* kernels = kernels_of(wanted);
  if (kernels == nullptr) {
    fail(NC_UNSUPPORTED, "cpu_level: this build or this machine does not have %s; the best level here is %s",
         name_of(wanted), name_of(best_level()));
  }
  return *kernels;
}

const Plan& plan_of(int64_t handle) {
  if (handle == 0) fail(NC_INVALID_ARGUMENT, "plan: 0, expected a handle made by nc_norm_plan_create");
  const Plan* plan = reinterpret_cast<const Plan*>(handle);
  if (handle % static_cast<int64_t>(alignof(Plan)) != 0 || plan->magic != kPlanMagic) {
    fail(NC_INVALID_ARGUMENT, "plan: %" PRId64 " is not a live handle, expected one made by nc_norm_plan_create",
         handle);
  }
  return *plan;
}

const CpuKernels& cpu_kernels_of(int64_t handle, const char* cuda_function) {
  const Plan& plan = plan_of(handle);
  if (plan.cpu == nullptr) {
    fail(NC_INVALID_ARGUMENT, "plan: for CUDA device %d, expected a plan for the CPU; call %s for this one",
         plan.cuda->device(), cuda_function);
  }
  return *plan.cpu;
}

const CudaPlan& cuda_plan_of(int64_t handle, const char* cpu_function) {
  const Plan& plan = plan_of(handle);
  if (plan.cuda == nullptr) {
    fail(NC_INVALID_ARGUMENT, "plan: for the CPU, expected a plan for a CUDA device; call %s for this one",
         cpu_function);
  }
  return *plan.cuda;
}

const char* name_of(DType dtype) {
  static const char* const names[] = {"float64",     "float32",     "bfloat16",   "float16",
                                      "float8_e4m3", "float8_e5m2", "float8_e8m0"};
  return names[static_cast<int>(dtype)];
}

int64_t bytes_of_compute(Compute compute) { return compute == Compute::float64 ? 8 : 4; }

}  // namespace nc

extern "C" {

int32_t nc_norm_plan_create(const nc_norm_spec* spec, int64_t* plan) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (spec == nullptr) nc::fail(NC_INVALID_ARGUMENT, "spec: null, expected a nc_norm_spec");
    if (plan == nullptr) nc::fail(NC_INVALID_ARGUMENT, "plan: null, expected the address of the handle");
    if (spec->struct_size != sizeof(nc_norm_spec)) {
      nc::fail(NC_INVALID_ARGUMENT, "struct_size: %u, expected %zu: header and library are of different versions",
               spec->struct_size, sizeof(nc_norm_spec));
    }
    *plan = reinterpret_cast<int64_t>(nc::planned(*spec).release());
  });
}

int32_t nc_norm_plan_destroy(int64_t plan) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (plan == 0) return;
    nc::Plan* owned = const_cast<nc::Plan*>(&nc::plan_of(plan));
    // Volatile, so that the compiler keeps the store: it lets a second destroy fail while the memory is not reused.
    *const_cast<volatile uint64_t*>(&owned->magic) = 0;
    delete owned;
  });
}

int32_t nc_cpu_best_level(void) NC_NOEXCEPT { return static_cast<int32_t>(nc::best_level()); }

int32_t nc_cpu_level_supported(int32_t level, int32_t* supported) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_range("level", level, NC_CPU_NEON);
    if (supported == nullptr) nc::fail(NC_INVALID_ARGUMENT, "supported: null, expected an address");
    *supported = nc::kernels_of(static_cast<nc::CpuLevel>(level)) != nullptr ? 1 : 0;
  });
}

}  // extern "C"
