// The CUDA runtime's names, for the parts of the plugin that call it (native/cuda/launch.h, runtime.cu) and for tests.
// The simulator implements them (runtime_*.cpp): same signatures, same error numbers, stricter behaviour. Where the
// runtime leaves a choice or tolerates an error, the simulator takes the strictest option:
//
// - Work in a stream runs when something waits for the stream, and not before. Streams do not wait for each other.
// - Device memory has addresses that the host cannot access, and no address is used twice.
// - Setting a function's attribute replaces the previous value.
// - A failed kernel makes its device unusable: every later call returns its error, until cudaDeviceReset.
// - During stream capture every call that a capture may forbid is refused, and invalidates the capture.
//
// Functions are C++ here, so that the library can be loaded beside the real runtime.
#pragma once

#include <cstddef>
#include <cstdint>

#define NC_SIMULATED_RUNTIME __attribute__((visibility("default")))

enum cudaError_t : int32_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorMemoryAllocation = 2,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorInvalidDeviceFunction = 98,
  cudaErrorInvalidDevice = 101,
  cudaErrorInvalidResourceHandle = 400,
  cudaErrorIllegalAddress = 700,
  cudaErrorLaunchOutOfResources = 701,
  cudaErrorMisalignedAddress = 716,
  cudaErrorLaunchFailure = 719,
  cudaErrorNotSupported = 801,
  cudaErrorStreamCaptureUnsupported = 900,
  cudaErrorStreamCaptureInvalidated = 901,
  cudaErrorStreamCaptureUnmatched = 903,
  cudaErrorStreamCaptureImplicit = 906,
  cudaErrorStreamCaptureWrongThread = 908,
  cudaErrorInvalidClusterSize = 912,
};

struct CUstream_st;
struct CUgraph_st;
struct CUgraphExec_st;
using cudaStream_t = CUstream_st*;
using cudaGraph_t = CUgraph_st*;
using cudaGraphExec_t = CUgraphExec_st*;

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned of_x = 1, unsigned of_y = 1, unsigned of_z = 1) : x(of_x), y(of_y), z(of_z) {}
};

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem;
};

enum cudaDeviceAttr {
  cudaDevAttrMultiProcessorCount = 16,
  cudaDevAttrComputeCapabilityMajor = 75,
  cudaDevAttrComputeCapabilityMinor = 76,
  cudaDevAttrPageableMemoryAccess = 88,
  cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
  cudaDevAttrClusterLaunch = 120,
};

enum cudaMemcpyKind { cudaMemcpyDefault = 4 };
constexpr unsigned cudaStreamNonBlocking = 1;
constexpr unsigned cudaHostAllocPortable = 1;

enum cudaMemoryType {
  cudaMemoryTypeUnregistered = 0,
  cudaMemoryTypeHost = 1,
  cudaMemoryTypeDevice = 2,
  cudaMemoryTypeManaged = 3,
};
struct cudaPointerAttributes {
  cudaMemoryType type;
  int device;
};

enum cudaFuncAttribute {
  cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
  cudaFuncAttributePreferredSharedMemoryCarveout = 9,
  cudaFuncAttributeNonPortableClusterSizeAllowed = 13,
};
constexpr int cudaSharedmemCarveoutMaxShared = 100;
struct cudaFuncAttributes {
  size_t sharedSizeBytes;
  int numRegs;
  int ptxVersion;
};

enum cudaLaunchAttributeID {
  cudaLaunchAttributeClusterDimension = 4,
  cudaLaunchAttributeProgrammaticStreamSerialization = 6,
};
struct cudaLaunchAttributeValue {
  struct {
    unsigned x, y, z;
  } clusterDim;
  int programmaticStreamSerializationAllowed;
};
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  cudaLaunchAttributeValue val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

enum cudaStreamCaptureMode {
  cudaStreamCaptureModeGlobal = 0,
  cudaStreamCaptureModeThreadLocal = 1,
  cudaStreamCaptureModeRelaxed = 2,
};

NC_SIMULATED_RUNTIME const char* cudaGetErrorName(cudaError_t error);
NC_SIMULATED_RUNTIME const char* cudaGetErrorString(cudaError_t error);
NC_SIMULATED_RUNTIME cudaError_t cudaGetLastError();
NC_SIMULATED_RUNTIME cudaError_t cudaPeekAtLastError();

NC_SIMULATED_RUNTIME cudaError_t cudaGetDeviceCount(int* count);
NC_SIMULATED_RUNTIME cudaError_t cudaGetDevice(int* device);
NC_SIMULATED_RUNTIME cudaError_t cudaSetDevice(int device);
NC_SIMULATED_RUNTIME cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device);
NC_SIMULATED_RUNTIME cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);
// Drops the current device's error, queued work and captures. Memory stays.
NC_SIMULATED_RUNTIME cudaError_t cudaDeviceReset();

NC_SIMULATED_RUNTIME cudaError_t cudaMalloc(void** address, size_t bytes);
NC_SIMULATED_RUNTIME cudaError_t cudaFree(void* address);
NC_SIMULATED_RUNTIME cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned flags);
NC_SIMULATED_RUNTIME cudaError_t cudaFreeHost(void* address);
NC_SIMULATED_RUNTIME cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind kind,
                                                 cudaStream_t stream);
NC_SIMULATED_RUNTIME cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream);
NC_SIMULATED_RUNTIME cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address);

NC_SIMULATED_RUNTIME cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags);
NC_SIMULATED_RUNTIME cudaError_t cudaStreamDestroy(cudaStream_t stream);
NC_SIMULATED_RUNTIME cudaError_t cudaStreamSynchronize(cudaStream_t stream);

NC_SIMULATED_RUNTIME cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode);
NC_SIMULATED_RUNTIME cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
NC_SIMULATED_RUNTIME cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph);
NC_SIMULATED_RUNTIME cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                                      unsigned long long flags);
NC_SIMULATED_RUNTIME cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream);
NC_SIMULATED_RUNTIME cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable);
NC_SIMULATED_RUNTIME cudaError_t cudaGraphDestroy(cudaGraph_t graph);

NC_SIMULATED_RUNTIME cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function);
NC_SIMULATED_RUNTIME cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value);
NC_SIMULATED_RUNTIME cudaError_t cudaFuncGetName(const char** name, const void* function);
NC_SIMULATED_RUNTIME cudaError_t cudaOccupancyMaxActiveClusters(int* count, const void* function,
                                                                const cudaLaunchConfig_t* config);
NC_SIMULATED_RUNTIME cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                                     void** arguments);
