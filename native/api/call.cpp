#include "call.h"

namespace nc {

void require_stream(bool on_cuda, int64_t stream) {
  if (!on_cuda && stream != 0) {
    fail(NC_INVALID_ARGUMENT, "stream: %" PRIx64 ", expected 0: the plan is for the CPU",
         static_cast<uint64_t>(stream));
  }
}

void require_call_memory(const void* call, const int64_t* units) {
  if (call == nullptr) fail(NC_INVALID_ARGUMENT, "call: null, expected the address of %d bytes", NC_CALL_BYTES);
  if (reinterpret_cast<uintptr_t>(call) % NC_CALL_ALIGNMENT != 0) {
    fail(NC_INVALID_ARGUMENT, "call: address %" PRIxPTR ", expected a multiple of %d",
         reinterpret_cast<uintptr_t>(call), NC_CALL_ALIGNMENT);
  }
  if (units == nullptr) fail(NC_INVALID_ARGUMENT, "units: null, expected the address of two numbers");
}

void refuse_ranges(int32_t device) {
  fail(NC_INVALID_ARGUMENT, "plan: for CUDA device %d, expected a plan for the CPU; run this one's calls whole",
       device);
}

}  // namespace nc

extern "C" int32_t nc_call_run(const void* call, int32_t phase, int64_t begin, int64_t end) NC_NOEXCEPT {
  const auto* const c = static_cast<const nc::Call*>(call);
  if (c != nullptr && reinterpret_cast<uintptr_t>(call) % NC_CALL_ALIGNMENT == 0 && c->magic == nc::kCallMagic &&
      (phase == 0 || phase == 1)) {
    return c->run(*c, phase, begin, end);
  }
  return nc::guarded([&] {
    if (phase != 0 && phase != 1) nc::fail(NC_INVALID_ARGUMENT, "phase: %d, expected 0 or 1", phase);
    nc::fail(NC_INVALID_ARGUMENT, "call: address %" PRIxPTR " has no call, expected one that nc_..._begin prepared",
             reinterpret_cast<uintptr_t>(call));
  });
}
