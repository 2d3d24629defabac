#include "cuda_plan.h"

namespace nc {

namespace {

int32_t checked_device(int32_t device) {
  require_device(require_cuda(), "device_index", device);
  return device;
}

}  // namespace

CudaPlan::CudaPlan(const NormSpec& spec, int32_t device)
    : plugin_(*require_cuda().plugin), memory_(plugin_, checked_device(device)), norm_{} {
  require_success(plugin_, plugin_.prepare(device, spec, &norm_), "preparing the kernels", device);
}

void CudaPlan::forward(const ForwardArguments& a, int64_t stream) const {
  require_success(plugin_, plugin_.forward(norm_, a, stream), "starting the forward", device());
}

void CudaPlan::backward(const BackwardArguments& a, int64_t stream) const {
  require_success(plugin_, plugin_.backward(norm_, a, stream), "starting the backward", device());
}

void CudaPlan::columns(const ColumnArguments* gradients, int32_t count, int64_t stream) const {
  require_success(plugin_, plugin_.columns(norm_, gradients, count, stream), "starting the sum of weight gradients",
                  device());
}

void CudaPlan::describe(char* text, int64_t capacity) const {
  require_success(plugin_, plugin_.describe(norm_, text, capacity), "naming the kernels", device());
}

}  // namespace nc
