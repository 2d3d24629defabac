#include "cuda_memory.h"

#include <cinttypes>

namespace nc {
namespace {

bool host_memory_visible(const CudaPlugin& plugin, int32_t device) {
  CudaDevice properties{};
  require_success(plugin, plugin.device(device, &properties), "querying the properties", device);
  return properties.host_memory_visible != 0;
}

// visible(): whether kernels can access memory unknown to the CUDA runtime.
template <class Visible>
void look_up_memory(const CudaPlugin& plugin, int32_t device, const Tensor& tensor, Visible visible) {
  int32_t place = kUnknownMemory;
  require_success(plugin, plugin.memory_device(tensor.address, &place), tensor.name, device);
  if (place >= 0 && place != device) {
    fail(NC_INVALID_ARGUMENT, "%s: address %" PRIx64 ", which is memory of CUDA device %d, expected that of device %d",
         tensor.name, static_cast<uint64_t>(tensor.address), place, device);
  }
  if (place == kUnknownMemory && !visible()) {
    fail(NC_INVALID_ARGUMENT,
         "%s: address %" PRIx64 ", which is not memory of a CUDA device, expected that of device %d", tensor.name,
         static_cast<uint64_t>(tensor.address), device);
  }
}

}  // namespace

void require_reachable(const CudaPlugin& plugin, int32_t device, const Tensor& tensor) {
  if (!has_bytes(tensor)) return;
  look_up_memory(plugin, device, tensor, [&] { return host_memory_visible(plugin, device); });
}

ReachableMemory::ReachableMemory(const CudaPlugin& plugin, int32_t device)
    : plugin_(plugin), device_(device), host_memory_visible_(host_memory_visible(plugin, device)) {}

void ReachableMemory::look_up(const Tensor& tensor) const {
  look_up_memory(plugin_, device_, tensor, [&] { return host_memory_visible_; });
  seen_.add(tensor.address);
}

}  // namespace nc
