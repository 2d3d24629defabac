// How kernels are loaded, permitted and launched: the host's half of simt.cuh, by the CUDA runtime. Where kernels run
// on the host (tests/native/simt_host), so does this, on the simulator's cuda_runtime.h.
#pragma once

#include <cuda_runtime.h>

#include "simt.cuh"

namespace nc {

// How a kernel is launched. Kernels take one structure by value.
template <class Parameters>
struct Launch {
  void (*kernel)(Parameters);
  int64_t blocks;
  int block_rows;  // the grid's second dimension
  int threads;
  int cluster;  // blocks that form a cluster; 1: none
  int shared_bytes;
};

// An error that is reported here must not be found again by whoever asks the runtime for its last one.
inline int32_t returned(cudaError_t error) {
  if (error != cudaSuccess) static_cast<void>(cudaGetLastError());
  return error;
}

// The CUDA runtime's form of a launch. Its attribute lies in itself, so it is not copied.
template <class Parameters>
struct LaunchConfig {
  cudaLaunchConfig_t config{};
  cudaLaunchAttribute attribute{};
  LaunchConfig(const Launch<Parameters>& l, int64_t stream) {
    config.gridDim = dim3(static_cast<unsigned>(l.blocks), static_cast<unsigned>(l.block_rows));
    config.blockDim = dim3(static_cast<unsigned>(l.threads));
    config.dynamicSmemBytes = static_cast<size_t>(l.shared_bytes);
    config.stream = reinterpret_cast<cudaStream_t>(stream);
    if (l.cluster == 1) return;
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(l.cluster);
    attribute.val.clusterDim.y = 1;
    attribute.val.clusterDim.z = 1;
    config.attrs = &attribute;
    config.numAttrs = 1;
  }
  LaunchConfig(const LaunchConfig&) = delete;
  LaunchConfig& operator=(const LaunchConfig&) = delete;
};

// Puts the kernel into the stream; returns the CUDA runtime's error.
template <class Parameters>
int32_t launch(const Launch<Parameters>& l, const Parameters& parameters, int64_t stream) {
  const LaunchConfig<Parameters> c(l, stream);
  void* arguments[] = {const_cast<Parameters*>(&parameters)};
  return returned(cudaLaunchKernelExC(&c.config, simt::function_of(l.kernel), arguments));
}

// What the compiler made of a kernel, for the current device.
struct KernelFacts {
  int registers;           // of a thread
  int compute_capability;  // that the code was written for: major * 10 + minor
  int shared_bytes;        // static shared memory of a block
};

// Loads a kernel on the current device, so that no launch has to, and writes its facts. A load is forbidden while the
// calling thread captures a stream, unless the thread says that it does not depend on the capture, as a load does not.
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

// How many clusters of a permitted kernel the current device holds at once: 0 if it is too small for one, as parts of a
// device may be.
template <class Parameters>
int32_t clusters_at_once(const Launch<Parameters>& l, int* count) {
  const LaunchConfig<Parameters> c(l, 0);
  const cudaError_t error = cudaOccupancyMaxActiveClusters(count, simt::function_of(l.kernel), &c.config);
  if (error == cudaErrorInvalidClusterSize) *count = 0;
  const int32_t answer = returned(error);
  return error == cudaErrorInvalidClusterSize ? 0 : answer;
}

// Lets launches of a kernel on the current device have as much dynamic shared memory, and clusters of any size where
// the device has them. A kernel has one set of these attributes for each device, and setting one replaces what an
// earlier plan was promised: so the bytes are a constant of the device, never those of one hidden size.
template <class Parameters>
int32_t permit(void (*kernel)(Parameters), int shared_bytes, bool clusters) {
  const void* const function = simt::function_of(kernel);
  const auto set = [&](cudaFuncAttribute attribute, int value) {
    return returned(cudaFuncSetAttribute(function, attribute, value));
  };
  if (const int32_t error = set(cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes)) return error;
  return clusters ? set(cudaFuncAttributeNonPortableClusterSizeAllowed, 1) : 0;
}

// Asks for as much of a multiprocessor's memory as can be shared memory: blocks that fill half of it each are to run in
// twos.
template <class Parameters>
int32_t prefer_shared_memory(void (*kernel)(Parameters)) {
  return returned(cudaFuncSetAttribute(simt::function_of(kernel), cudaFuncAttributePreferredSharedMemoryCarveout,
                                       cudaSharedmemCarveoutMaxShared));
}

}  // namespace nc
