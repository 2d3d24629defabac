#include <cuda_runtime.h>

#include <cstring>
#include <map>
#include <mutex>

#include "launch.h"
#include "runtime.h"

namespace nc {
namespace cuda_runtime {
namespace {

cudaStream_t stream_of(int64_t stream) { return reinterpret_cast<cudaStream_t>(stream); }

template <class Call>
int32_t on_device(int32_t device, Call call) {
  const CurrentDevice current(device);
  return current.error() != 0 ? current.error() : returned(call());
}

int32_t query(int32_t index, CudaDevice* answer) {
  cudaDeviceProp properties;
  if (const int32_t error = returned(cudaGetDeviceProperties(&properties, index))) return error;
  const auto attribute = [index](cudaDeviceAttr of, int* value) {
    return returned(cudaDeviceGetAttribute(value, of, index));
  };
  int major = 0, minor = 0, multiprocessors = 0, shared_bytes = 0, clusters = 0, host_memory_visible = 0;
  const struct {
    cudaDeviceAttr of;
    int* value;
  } wanted[] = {{cudaDevAttrComputeCapabilityMajor, &major},
                {cudaDevAttrComputeCapabilityMinor, &minor},
                {cudaDevAttrMultiProcessorCount, &multiprocessors},
                {cudaDevAttrMaxSharedMemoryPerBlockOptin, &shared_bytes},
                {cudaDevAttrClusterLaunch, &clusters},
                {cudaDevAttrPageableMemoryAccess, &host_memory_visible}};
  for (const auto& w : wanted) {
    if (const int32_t error = attribute(w.of, w.value)) return error;
  }
  answer->compute_capability = major * 10 + minor;
  answer->multiprocessors = multiprocessors;
  answer->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  answer->shared_bytes = shared_bytes;
  answer->clusters = clusters != 0 ? 1 : 0;
  answer->host_memory_visible = host_memory_visible != 0 ? 1 : 0;
  static_assert(sizeof(answer->name) == sizeof(properties.name));
  std::memcpy(answer->name, properties.name, sizeof(answer->name));
  return 0;
}

}  // namespace

CurrentDevice::CurrentDevice(int32_t device) : previous_(-1), error_(0) {
  int current = 0;
  error_ = returned(cudaGetDevice(&current));
  if (error_ != 0 || current == device) return;
  error_ = returned(cudaSetDevice(device));
  if (error_ == 0) previous_ = current;
}

CurrentDevice::~CurrentDevice() {
  if (previous_ >= 0) returned(cudaSetDevice(previous_));
}

int32_t device_count(int32_t* count) { return returned(cudaGetDeviceCount(count)); }

int32_t device(int32_t index, CudaDevice* answer) {
  // Never destroyed, because threads may outlive static destructors. Cached, because querying all properties takes
  // milliseconds.
  static auto* const lock = new std::mutex;
  static auto* const known = new std::map<int32_t, CudaDevice>;
  const std::lock_guard<std::mutex> hold(*lock);
  const auto found = known->find(index);
  if (found != known->end()) {
    *answer = found->second;
    return 0;
  }
  CudaDevice d{};
  if (const int32_t error = query(index, &d)) return error;
  *answer = (*known)[index] = d;
  return 0;
}

const char* error_name(int32_t error) { return cudaGetErrorName(static_cast<cudaError_t>(error)); }
const char* error_text(int32_t error) { return cudaGetErrorString(static_cast<cudaError_t>(error)); }

int32_t allocate(int32_t device, int64_t bytes, int64_t* address) {
  void* memory = nullptr;
  const int32_t error = on_device(device, [&] { return cudaMalloc(&memory, static_cast<size_t>(bytes)); });
  if (error == 0) *address = reinterpret_cast<int64_t>(memory);
  return error;
}

int32_t free(int32_t device, int64_t address) {
  return on_device(device, [&] { return cudaFree(reinterpret_cast<void*>(address)); });
}

int32_t copy(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream) {
  return on_device(device, [&] {
    return cudaMemcpyAsync(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source),
                           static_cast<size_t>(bytes), cudaMemcpyDefault, stream_of(stream));
  });
}

int32_t zero(int32_t device, int64_t address, int64_t bytes, int64_t stream) {
  return on_device(device, [&] {
    return cudaMemsetAsync(reinterpret_cast<void*>(address), 0, static_cast<size_t>(bytes), stream_of(stream));
  });
}

int32_t stream_create(int32_t device, int64_t* stream) {
  cudaStream_t created = nullptr;
  const int32_t error = on_device(device, [&] { return cudaStreamCreateWithFlags(&created, cudaStreamNonBlocking); });
  if (error == 0) *stream = reinterpret_cast<int64_t>(created);
  return error;
}

int32_t stream_destroy(int32_t device, int64_t stream) {
  return on_device(device, [&] { return cudaStreamDestroy(stream_of(stream)); });
}

int32_t stream_synchronize(int32_t device, int64_t stream) {
  return on_device(device, [&] { return cudaStreamSynchronize(stream_of(stream)); });
}

int32_t memory_device(int64_t address, int32_t* device) {
  cudaPointerAttributes attributes;
  const int32_t error = returned(cudaPointerGetAttributes(&attributes, reinterpret_cast<const void*>(address)));
  if (error != 0) return error;
  switch (attributes.type) {
    case cudaMemoryTypeDevice:
      *device = attributes.device;
      break;
    case cudaMemoryTypeHost:
    case cudaMemoryTypeManaged:
      *device = kAnyDevice;
      break;
    default:
      *device = kUnknownMemory;
  }
  return 0;
}

int32_t host_allocate(int64_t bytes, int64_t* address) {
  void* memory = nullptr;
  const int32_t error = returned(cudaHostAlloc(&memory, static_cast<size_t>(bytes), cudaHostAllocPortable));
  if (error == 0) *address = reinterpret_cast<int64_t>(memory);
  return error;
}

int32_t host_free(int64_t address) { return returned(cudaFreeHost(reinterpret_cast<void*>(address))); }

}  // namespace cuda_runtime
}  // namespace nc
