#include "cuda_plan.h"

#include <cinttypes>

namespace nc {

CudaPlan::CudaPlan(const NormSpec& spec, int32_t device) : plugin_(*require_cuda().plugin), norm_{} {
  require_device(cuda(), "device_index", device);
  CudaDevice properties{};
  require_success(plugin_, plugin_.device(device, &properties), "asking for the properties", device);
  host_memory_visible_ = properties.host_memory_visible != 0;
  require_success(plugin_, plugin_.prepare(device, spec, &norm_), "preparing the kernels", device);
}

void CudaPlan::look_up(const Tensor& tensor) const {
  int32_t place = kUnknownMemory;
  require_success(plugin_, plugin_.memory_device(tensor.address, &place), tensor.name, device());
  if (place >= 0 && place != device()) {
    fail(NC_INVALID_ARGUMENT,
         "%s: address %" PRIx64 ", which is memory of CUDA device %d, expected that of the plan's, %d", tensor.name,
         static_cast<uint64_t>(tensor.address), place, device());
  }
  if (place == kUnknownMemory && !host_memory_visible_) {
    fail(NC_INVALID_ARGUMENT,
         "%s: address %" PRIx64 ", which is not memory of a CUDA device, expected that of the plan's device %d",
         tensor.name, static_cast<uint64_t>(tensor.address), device());
  }
  seen_.add(tensor.address);
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

}  // namespace nc
