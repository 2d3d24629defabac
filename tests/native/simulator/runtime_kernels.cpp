// The simulated runtime: kernels, their attributes, and the checks of a launch.
#include <cstring>
#include <map>
#include <utility>

#include "control.h"
#include "device.h"

namespace nc {
namespace simt {
namespace host {
namespace {

constexpr int kWarp = 32, kMostThreads = 1024;
constexpr int kMostCluster = 16, kPortableCluster = 8;
constexpr int kSharedWithoutAsking = 48 * 1024;
constexpr int kNoPreference = -1;
constexpr int kRegisterUnit = 256;  // per warp

// A kernel as the runtime's functions see it, by address alone.
struct Function {
  void (*call)(const void*, const void*);
  size_t parameter_bytes;
};

// One set per kernel and device: setting a value replaces the previous one.
struct Attributes {
  int shared_bytes = kSharedWithoutAsking;
  bool large_clusters = false;
  int carveout = kNoPreference;
  bool loaded = false;
};

std::map<const void*, Function>& functions() {
  static auto* const all = new std::map<const void*, Function>;
  return *all;
}
Attributes& attributes_of(const void* function, int32_t device) {
  static auto* const all = new std::map<std::pair<const void*, int32_t>, Attributes>;
  return (*all)[{function, device}];
}

// Loads the kernel on the current device, which a capture forbids.
cudaError_t load(const void* function) {
  {
    const std::lock_guard<std::mutex> hold(lock);
    if (functions().count(function) == 0) return refused(cudaErrorInvalidDeviceFunction, "no kernel");
    if (attributes_of(function, current_device()).loaded) return cudaSuccess;
  }
  if (capture_forbids()) {
    return refused(cudaErrorStreamCaptureUnsupported, "a kernel is loaded while a stream is captured");
  }
  const std::lock_guard<std::mutex> hold(lock);
  attributes_of(function, current_device()).loaded = true;
  return cudaSuccess;
}

Attributes present_attributes(const void* function) {
  const std::lock_guard<std::mutex> hold(lock);
  return attributes_of(function, current_device());
}

LaunchShape shape_of(const cudaLaunchConfig_t& c) {
  LaunchShape s{c.gridDim.x, static_cast<int>(c.gridDim.y), static_cast<int>(c.blockDim.x), 1,
                static_cast<int>(c.dynamicSmemBytes)};
  for (unsigned i = 0; i < c.numAttrs; ++i) {
    if (c.attrs[i].id == cudaLaunchAttributeClusterDimension) s.cluster = static_cast<int>(c.attrs[i].val.clusterDim.x);
  }
  return s;
}

// Checks a launch against the device's limits and the kernel's attributes.
cudaError_t check(const LaunchShape& s, const Attributes& of, const void* function) {
  const Device& d = kDevice[current_device()];
  if (s.threads < kWarp || s.threads > kMostThreads || s.threads % kWarp != 0) {
    return refused(cudaErrorInvalidConfiguration, "threads: expected a multiple of 32 up to 1024");
  }
  if (s.blocks < 1 || s.blocks > INT32_MAX || s.block_rows < 1 || s.block_rows > 65535) {
    return refused(cudaErrorInvalidConfiguration, "blocks: expected 1 to 2^31 - 1, in 1 to 65535 rows");
  }
  if (s.cluster < 1 || s.cluster > kMostCluster || s.blocks % s.cluster != 0) {
    return refused(cudaErrorInvalidClusterSize, "cluster: expected a divisor of the blocks up to 16");
  }
  if (s.cluster > 1 && !d.clusters) return refused(cudaErrorNotSupported, "cluster: the device has none");
  if (s.shared_bytes < 0 || s.shared_bytes > of.shared_bytes) {
    return refused(cudaErrorInvalidValue, "shared memory: more than the kernel's attribute allows on this device");
  }
  if (s.cluster > kPortableCluster && !of.large_clusters) {
    return refused(cudaErrorInvalidClusterSize, "cluster: more than 8 blocks without the kernel's attribute");
  }
  const Control& c = control();
  if (c.registers_of != nullptr) {
    const int of_warp = (c.registers_of(function) * kWarp + kRegisterUnit - 1) / kRegisterUnit * kRegisterUnit;
    if (of_warp * (s.threads / kWarp) > kRegistersOfMultiprocessor) {
      return refused(cudaErrorLaunchOutOfResources, "registers: a block's threads have more than 65536");
    }
  }
  return cudaSuccess;
}

cudaError_t start(const cudaLaunchConfig_t& config, const void* function, void** arguments) {
  Control& c = control();
  c.failure.clear();
  if (c.next_launch_error != 0) {
    const auto error = static_cast<cudaError_t>(c.next_launch_error);
    c.next_launch_error = 0;
    return refused(error, "asked for");
  }
  if (const cudaError_t error = begin(); error != cudaSuccess) return error;
  if (const cudaError_t error = load(function); error != cudaSuccess) return error;
  const LaunchShape shape = shape_of(config);
  const Attributes attributes = present_attributes(function);
  cudaError_t error = check(shape, attributes, function);
  if (error == cudaSuccess && shape.cluster > c.largest_cluster) {
    error = refused(cudaErrorInvalidClusterSize, "cluster: the device does not hold as many blocks");
  }
  if (error != cudaSuccess) {
    break_capture(config.stream);
    return error;
  }
  Function of{};
  {
    const std::lock_guard<std::mutex> hold(lock);
    of = functions().at(function);
  }
  const auto* const bytes = static_cast<const char*>(arguments[0]);
  KernelLaunch launch{function,           shape, of.call, {bytes, bytes + of.parameter_bytes}, current_device(),
                      attributes.carveout};
  return enqueue(config.stream, [launch = std::move(launch)] { return run(launch); });
}

cudaError_t set(const void* function, cudaFuncAttribute attribute, int value) {
  if (const cudaError_t error = load(function); error != cudaSuccess) return error;
  const Device& d = kDevice[current_device()];
  const std::lock_guard<std::mutex> hold(lock);
  Attributes& of = attributes_of(function, current_device());
  switch (attribute) {
    case cudaFuncAttributeMaxDynamicSharedMemorySize:
      if (value < 0 || value > d.shared_bytes) return refused(cudaErrorInvalidValue, "more than a block can have");
      of.shared_bytes = value;
      return cudaSuccess;
    case cudaFuncAttributePreferredSharedMemoryCarveout:
      if (value < kNoPreference || value > 100) return refused(cudaErrorInvalidValue, "expected per cent");
      of.carveout = value;
      return cudaSuccess;
    case cudaFuncAttributeNonPortableClusterSizeAllowed:
      if (!d.clusters) return refused(cudaErrorNotSupported, "the device has no clusters");
      of.large_clusters = value != 0;
      return cudaSuccess;
  }
  return cudaErrorInvalidValue;
}

}  // namespace

void know(const void* kernel, void (*call)(const void*, const void*), size_t parameter_bytes) {
  const std::lock_guard<std::mutex> hold(lock);
  functions()[kernel] = {call, parameter_bytes};
}

}  // namespace host
}  // namespace simt
}  // namespace nc

using namespace nc::simt;
using namespace nc::simt::host;

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  if (const cudaError_t error = load(function); error != cudaSuccess) return noted(error);
  // Registers that let two blocks of 128 threads, but not of 256, run together.
  constexpr int kTwoBlocks = 168;
  const Control& c = control();
  *attributes = {0, c.registers_of != nullptr ? c.registers_of(function) : kTwoBlocks, c.code_capability};
  return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return noted(set(function, attribute, value));
}

cudaError_t cudaOccupancyMaxActiveClusters(int* count, const void* function, const cudaLaunchConfig_t* config) {
  if (const cudaError_t error = load(function); error != cudaSuccess) return noted(error);
  const LaunchShape shape = shape_of(*config);
  if (const cudaError_t error = check(shape, present_attributes(function), function); error != cudaSuccess) {
    return noted(error);
  }
  *count = shape.cluster <= control().largest_cluster ? 1 : 0;
  return cudaSuccess;
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function, void** arguments) {
  return noted(start(*config, function, arguments));
}
