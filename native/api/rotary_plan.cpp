#include "rotary_plan.h"

#include <cinttypes>

#include "plan.h"

namespace nc {
namespace {

constexpr uint64_t kRotaryMagic = 0x726f746174696f6eull;  // "rotation"

DType rotary_dtype(const char* name, int32_t value) {
  require_range(name, value, NC_FLOAT8_E8M0);
  if (value < NC_FLOAT32 || value > NC_FLOAT16) {
    fail(NC_UNSUPPORTED, "%s: %s is not supported by rotary embeddings, expected float32, bfloat16 or float16", name,
         name_of(static_cast<DType>(value)));
  }
  return static_cast<DType>(value);
}

RotarySpec validated(const nc_rotary_spec& s) {
  RotarySpec spec{};
  spec.x = rotary_dtype("x_dtype", s.x_dtype);
  spec.table = rotary_dtype("table_dtype", s.table_dtype);
  require_range("layout", s.layout, NC_ROTARY_INTERLEAVED);
  require_range("rounding", s.rounding, NC_ROTARY_ROUND_INPUT);
  if (s.head_dim < 2 || s.head_dim > NC_MAX_HEAD_DIM) {
    fail(NC_INVALID_ARGUMENT, "head_dim: %d, expected 2 to %d", s.head_dim, NC_MAX_HEAD_DIM);
  }
  if (s.rotary_dim < 2 || s.rotary_dim > s.head_dim || s.rotary_dim % 2 != 0) {
    fail(NC_INVALID_ARGUMENT, "rotary_dim: %d, expected an even number from 2 to the head's %d", s.rotary_dim,
         s.head_dim);
  }
  spec.layout = static_cast<RotaryLayout>(s.layout);
  spec.rounding = static_cast<RotaryRounding>(s.rounding);
  spec.head_dim = s.head_dim;
  spec.rotary_dim = s.rotary_dim;
  return spec;
}

std::unique_ptr<RotaryPlan> planned(const nc_rotary_spec& s) {
  std::unique_ptr<RotaryPlan> plan(new RotaryPlan{kRotaryMagic, validated(s), nullptr, nullptr});
  require_range("device_type", s.device_type, NC_DEVICE_CUDA);
  if (s.device_type == NC_DEVICE_CPU) {
    if (s.device_index != 0) fail(NC_INVALID_ARGUMENT, "device_index: %d, expected 0 for the CPU", s.device_index);
    plan->cpu = &cpu_kernels_for(s.cpu_level);
  } else {
    if (s.cpu_level != NC_CPU_BEST) {
      fail(NC_INVALID_ARGUMENT, "cpu_level: %d, expected 0 (best) for a CUDA device", s.cpu_level);
    }
    plan->cuda = std::make_unique<const CudaRotary>(plan->spec, s.device_index);
  }
  return plan;
}

int32_t checked_device(int32_t device) {
  require_device(require_cuda(), "device_index", device);
  return device;
}

}  // namespace

CudaRotary::CudaRotary(const RotarySpec& spec, int32_t device)
    : plugin_(*require_cuda().plugin), device_(checked_device(device)), memory_(plugin_, device_) {
  require_success(plugin_, plugin_.rotary_prepare(device_, spec), "preparing the kernels", device_);
}

void CudaRotary::apply(const RotarySpec& spec, const RotaryArguments& a, int64_t stream) const {
  require_success(plugin_, plugin_.rotary(device_, spec, a, stream), "starting the rotary embedding", device_);
}

const RotaryPlan& rotary_plan_of(int64_t handle) {
  if (handle == 0) fail(NC_INVALID_ARGUMENT, "plan: 0, expected a handle made by nc_rotary_plan_create");
  const RotaryPlan* plan = reinterpret_cast<const RotaryPlan*>(handle);
  if (handle % static_cast<int64_t>(alignof(RotaryPlan)) != 0 || plan->magic != kRotaryMagic) {
    fail(NC_INVALID_ARGUMENT, "plan: %" PRId64 " is not a live handle, expected one made by nc_rotary_plan_create",
         handle);
  }
  return *plan;
}

}  // namespace nc

extern "C" {

int32_t nc_rotary_plan_create(const nc_rotary_spec* spec, int64_t* plan) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (spec == nullptr) nc::fail(NC_INVALID_ARGUMENT, "spec: null, expected a nc_rotary_spec");
    if (plan == nullptr) nc::fail(NC_INVALID_ARGUMENT, "plan: null, expected the address of the handle");
    if (spec->struct_size != sizeof(nc_rotary_spec)) {
      nc::fail(NC_INVALID_ARGUMENT, "struct_size: %u, expected %zu: header and library are of different versions",
               spec->struct_size, sizeof(nc_rotary_spec));
    }
    *plan = reinterpret_cast<int64_t>(nc::planned(*spec).release());
  });
}

int32_t nc_rotary_plan_destroy(int64_t plan) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (plan == 0) return;
    nc::RotaryPlan* owned = const_cast<nc::RotaryPlan*>(&nc::rotary_plan_of(plan));
    // Volatile, so that the compiler keeps the store: it lets a second destroy fail while the memory is not reused.
    *const_cast<volatile uint64_t*>(&owned->magic) = 0;
    delete owned;
  });
}

}  // extern "C"
