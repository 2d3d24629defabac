// Loads and launches kernels through the CUDA runtime: the host counterpart of simt.cuh. For kernels that run on the
// host (tests/native/simulator) this file uses the simulator's cuda_runtime.h.
#pragma once

#include <cuda_runtime.h>

#include "simt.cuh"

namespace nc {

// Launch configuration. A kernel takes one structure by value.
template <class Parameters>
struct Launch {
  void (*kernel)(Parameters);
  int64_t blocks;
  int block_rows;  // the grid's second dimension
  int threads;
  int cluster;  // blocks per cluster; 1: no clusters
  int shared_bytes;
  bool overlaps = false;  // may start before the stream's previous launch has ended; only without clusters
};

// Returns the error and clears it from the runtime, so that a later cudaGetLastError does not report it again.
inline int32_t returned(cudaError_t error) {
  if (error != cudaSuccess) static_cast<void>(cudaGetLastError());
  return error;
}

// The CUDA runtime's launch configuration. It points to its own attribute, so it is not copyable.
template <class Parameters>
struct LaunchConfig {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attribute{};
  LaunchConfig(const Launch<Parameters>& l, int64_t stream) {
    config.gridDim = dim3(static_cast<unsigned>(l.blocks), static_cast<unsigned>(l.block_rows));
    config.blockDim = dim3(static_cast<unsigned>(l.threads));
    config.dynamicSmemBytes = static_cast<size_t>(l.shared_bytes);
    config.stream = reinterpret_cast<cudaStream_t>(stream);
    if (l.cluster == 1 && !l.overlaps) return;
    if (l.overlaps) {
      attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
      attribute.val.programmaticStreamSerializationAllowed = 1;
    } else {
      attribute.id = cudaLaunchAttributeClusterDimension;
      attribute.val.clusterDim.x = static_cast<unsigned>(l.cluster);
      attribute.val.clusterDim.y = 1;
      attribute.val.clusterDim.z = 1;
    }
    config.attrs = &attribute;
    config.numAttrs = 1;
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;
};

// Launches the kernel on the stream; returns the CUDA runtime's error.
template <class Parameters>
int32_t launch(const Launch<Parameters>& l, const Parameters& parameters, int64_t stream) {
  const LaunchConfig<Parameters> c(l, stream);
  void* arguments[] = {const_cast<Parameters*>(&parameters)};
  return returned(cudaLaunchKernelExC(&c.config, simt::function_of(l.kernel), arguments));
}

// Compiled properties of a kernel on the current device.
struct KernelFacts {
  int registers;           // per thread
  int compute_capability;  // target of the code: major * 10 + minor
  int shared_bytes;        // static shared memory per block
};

// Loads a kernel on the current device, so that no launch has to, and writes its facts. CUDA forbids a load while the
// calling thread captures a stream, unless the thread relaxes its capture mode. A load does not depend on the capture,
// so this function relaxes it.
template <class Parameters>
int32_t load_kernel(void (*kernel)(Parameters), KernelFacts* facts) {
  cudaStreamCaptureMode mode = cudaStreamCaptureModeRelaxed;
  if (const int32_t error = returned(cudaThreadExchangeStreamCaptureMode(&mode))) return error;
  cudaFuncAttributes attributes{};
  const int32_t error = returned(cudaFuncGetAttributes(&attributes, simt::function_of(kernel)));
  *facts = {attributes.numRegs, attributes.ptxVersion, static_cast<int>(attributes.sharedSizeBytes)};
  const int32_t restored = returned(cudaThreadExchangeStreamCaptureMode(&mode));
  return error != 0 ? error : restored;
}

// How many clusters of a kernel the current device can hold at once, after permit(): 0 if one does not fit, which is
// possible on a partition of a device.
template <class Parameters>
int32_t clusters_at_once(const Launch<Parameters>& l, int* count) {
  const LaunchConfig<Parameters> c(l, 0);
  const cudaError_t error = cudaOccupancyMaxActiveClusters(count, simt::function_of(l.kernel), &c.config);
  if (error == cudaErrorInvalidClusterSize) *count = 0;
  const int32_t answer = returned(error);
  return error == cudaErrorInvalidClusterSize ? 0 : answer;
}

// Sets the maximum dynamic shared memory of a kernel on the current device and, where the device has clusters, allows
// any cluster size. A kernel has one set of attributes per device, and a later call replaces them: so the bytes must be
// a constant of the device, never those of one hidden size.
template <class Parameters>
int32_t permit(void (*kernel)(Parameters), int shared_bytes, bool clusters) {
  const void* const function = simt::function_of(kernel);
  const auto set = [&](cudaFuncAttribute attribute, int value) {
    return returned(cudaFuncSetAttribute(function, attribute, value));
  };
  if (const int32_t error = set(cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes)) return error;
  return clusters ? set(cudaFuncAttributeNonPortableClusterSizeAllowed, 1) : 0;
}

// Requests the maximum shared-memory carveout, so that two blocks that each use half of it fit one SM.
template <class Parameters>
int32_t prefer_shared_memory(void (*kernel)(Parameters)) {
  return returned(cudaFuncSetAttribute(simt::function_of(kernel), cudaFuncAttributePreferredSharedMemoryCarveout,
                                       cudaSharedmemCarveoutMaxShared));
}

}  // namespace nc
