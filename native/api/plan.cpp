#include "plan.h"

#include "tensor.h"

namespace nc {
namespace {

// The kernels of an NC_CPU_... level; refuses a level that this build or machine does not have.
const CpuKernels& kernels_for(int32_t level) {
  require_range("cpu_level", level, NC_CPU_NEON);
  const CpuLevel wanted = static_cast<CpuLevel>(level);
  const CpuKernels* kernels = kernels_of(wanted);
  if (kernels == nullptr) {
    fail(NC_UNSUPPORTED, "cpu_level: this build or this machine does not have %s; the best level here is %s",
         name_of(wanted), name_of(best_level()));
  }
  return *kernels;
}

template <class Kind>
std::unique_ptr<const CudaPlan<Kind>> on_cuda(const typename Kind::Spec& spec, int32_t device) {
  const Cuda& cuda = require_cuda();
  require_device(cuda, "device_index", device);
  std::unique_ptr<CudaPlan<Kind>> plan(
      new CudaPlan<Kind>{*cuda.plugin, device, ReachableMemory(*cuda.plugin, device), {}});
  plan->require(Kind::prepare(*cuda.plugin, device, spec, &plan->prepared), "preparing the kernels");
  return plan;
}

template <class Kind>
int32_t create(const typename Kind::Structure* given, int64_t* handle) noexcept {
  return guarded([&] {
    const Structure<typename Kind::Structure> structure(given, "spec", Kind::kFirstVersion);
    const typename Kind::Structure& s = *structure;
    if (handle == nullptr) fail(NC_INVALID_ARGUMENT, "plan: null, expected the address of the handle");
    std::unique_ptr<Plan<Kind>> plan(new Plan<Kind>{Kind::kMagic, Kind::validated(s), {}, nullptr});
    require_range("device_type", s.device_type, NC_DEVICE_CUDA);
    if (s.device_type == NC_DEVICE_CPU) {
      if (s.device_index != 0) fail(NC_INVALID_ARGUMENT, "device_index: %d, expected 0 for the CPU", s.device_index);
      plan->cpu = Kind::select(kernels_for(s.cpu_level), plan->spec);
    } else {
      if (s.cpu_level != NC_CPU_BEST) {
        fail(NC_INVALID_ARGUMENT, "cpu_level: %d, expected 0 (best) for a CUDA device", s.cpu_level);
      }
      plan->cuda = on_cuda<Kind>(plan->spec, s.device_index);
    }
    *handle = reinterpret_cast<int64_t>(plan.release());
  });
}

template <class Kind>
int32_t destroy(int64_t handle) noexcept {
  return guarded([&] {
    if (handle == 0) return;
    auto* owned = const_cast<Plan<Kind>*>(&plan_of<Kind>(handle));
    // Volatile, so that the compiler keeps the store: it lets a second destroy fail while the memory is not reused.
    *const_cast<volatile uint64_t*>(&owned->magic) = 0;
    delete owned;
  });
}

}  // namespace

void refuse_handle(int64_t handle, const char* create) {
  if (handle == 0) fail(NC_INVALID_ARGUMENT, "plan: 0, expected a handle made by %s", create);
  fail(NC_INVALID_ARGUMENT, "plan: %" PRId64 " is not a live handle, expected one made by %s", handle, create);
}

}  // namespace nc

extern "C" {

int32_t nc_norm_plan_create(const nc_norm_spec* spec, int64_t* plan) NC_NOEXCEPT {
  return nc::create<nc::NormKind>(spec, plan);
}
int32_t nc_norm_plan_destroy(int64_t plan) NC_NOEXCEPT { return nc::destroy<nc::NormKind>(plan); }

int32_t nc_rotary_plan_create(const nc_rotary_spec* spec, int64_t* plan) NC_NOEXCEPT {
  return nc::create<nc::RotaryKind>(spec, plan);
}
int32_t nc_rotary_plan_destroy(int64_t plan) NC_NOEXCEPT { return nc::destroy<nc::RotaryKind>(plan); }

int32_t nc_fp8_plan_create(const nc_fp8_spec* spec, int64_t* plan) NC_NOEXCEPT {
  return nc::create<nc::Fp8Kind>(spec, plan);
}
int32_t nc_fp8_plan_destroy(int64_t plan) NC_NOEXCEPT { return nc::destroy<nc::Fp8Kind>(plan); }

int32_t nc_cpu_best_level(void) NC_NOEXCEPT { return static_cast<int32_t>(nc::best_level()); }

int32_t nc_cpu_level_supported(int32_t level, int32_t* supported) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_range("level", level, NC_CPU_NEON);
    if (supported == nullptr) nc::fail(NC_INVALID_ARGUMENT, "supported: null, expected an address");
    *supported = nc::kernels_of(static_cast<nc::CpuLevel>(level)) != nullptr ? 1 : 0;
  });
}

}  // extern "C"
