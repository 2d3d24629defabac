// The simulated runtime: devices and sticky errors.
#include <cstdio>
#include <string>

#include "control.h"
#include "device.h"

namespace nc {
namespace simt {
namespace host {
namespace {

thread_local int32_t current = 0;
thread_local cudaError_t last_error = cudaSuccess;

// Errors that every later call on the device returns.
cudaError_t lost[kDevices] = {};

struct ErrorNames {
  cudaError_t error;
  const char* name;
  const char* text;
};
const ErrorNames kErrors[] = {
    {cudaSuccess, "cudaSuccess", "no error"},
    {cudaErrorInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {cudaErrorMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {cudaErrorInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {cudaErrorInvalidDeviceFunction, "cudaErrorInvalidDeviceFunction", "invalid device function"},
    {cudaErrorInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {cudaErrorInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {cudaErrorIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {cudaErrorLaunchOutOfResources, "cudaErrorLaunchOutOfResources", "too many resources requested for launch"},
    {cudaErrorMisalignedAddress, "cudaErrorMisalignedAddress", "misaligned address"},
    {cudaErrorLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {cudaErrorNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {cudaErrorStreamCaptureUnsupported, "cudaErrorStreamCaptureUnsupported",
     "operation not permitted when stream is capturing"},
    {cudaErrorStreamCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {cudaErrorStreamCaptureUnmatched, "cudaErrorStreamCaptureUnmatched", "stream is not capturing"},
    {cudaErrorStreamCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
    {cudaErrorStreamCaptureWrongThread, "cudaErrorStreamCaptureWrongThread",
     "attempt to terminate a thread-local capture sequence from another thread"},
    {cudaErrorInvalidClusterSize, "cudaErrorInvalidClusterSize", "invalid cluster size"},
};

}  // namespace

const Device kDevice[kDevices] = {{90, 132, 227 * 1024, true}, {80, 108, 163 * 1024, false}};

std::mutex lock;

int32_t current_device() { return current; }

cudaError_t begin() {
  Control& c = control();
  c.failure.clear();
  if (c.next_call_error != 0) {
    const auto error = static_cast<cudaError_t>(c.next_call_error);
    c.next_call_error = 0;
    return refused(error, "asked for");
  }
  const std::lock_guard<std::mutex> hold(lock);
  return lost[current] == cudaSuccess ? cudaSuccess : refused(lost[current], "an earlier kernel has failed");
}

cudaError_t noted(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

cudaError_t refused(cudaError_t error, const char* why) {
  control().failure = why;
  return error;
}

void lose(int32_t device, cudaError_t error) {
  const std::lock_guard<std::mutex> hold(lock);
  lost[device] = error;
}

}  // namespace host
}  // namespace simt
}  // namespace nc

using namespace nc::simt;
using namespace nc::simt::host;

const char* cudaGetErrorName(cudaError_t error) {
  for (const ErrorNames& e : kErrors) {
    if (e.error == error) return e.name;
  }
  return "cudaErrorUnknown";
}

const char* cudaGetErrorString(cudaError_t error) {
  const char* text = "unknown error";
  for (const ErrorNames& e : kErrors) {
    if (e.error == error) text = e.text;
  }
  if (control().failure.empty()) return text;
  thread_local std::string with_reason;
  with_reason = std::string(text) + " (" + control().failure + ")";
  return with_reason.c_str();
}

cudaError_t cudaPeekAtLastError() {
  const std::lock_guard<std::mutex> hold(lock);
  return lost[current] != cudaSuccess ? lost[current] : last_error;
}

cudaError_t cudaGetLastError() {
  const cudaError_t error = cudaPeekAtLastError();
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaGetDeviceCount(int* count) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  *count = kDevices;
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* device) {
  *device = current;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (device < 0 || device >= kDevices) return noted(cudaErrorInvalidDevice);
  current = device;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  if (device < 0 || device >= kDevices) return noted(cudaErrorInvalidDevice);
  *properties = {};
  properties->totalGlobalMem = size_t{1} << 30;
  std::snprintf(properties->name, sizeof properties->name, "host simulation, not a GPU (%d)",
                kDevice[device].compute_capability);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  if (device < 0 || device >= kDevices) return noted(cudaErrorInvalidDevice);
  const Device& d = kDevice[device];
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = d.multiprocessors;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMajor:
      *value = d.compute_capability / 10;
      return cudaSuccess;
    case cudaDevAttrComputeCapabilityMinor:
      *value = d.compute_capability % 10;
      return cudaSuccess;
    case cudaDevAttrPageableMemoryAccess:
      *value = 0;
      return cudaSuccess;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = d.shared_bytes;
      return cudaSuccess;
    case cudaDevAttrClusterLaunch:
      *value = d.clusters ? 1 : 0;
      return cudaSuccess;
  }
  return noted(cudaErrorInvalidValue);
}

cudaError_t cudaDeviceReset() {
  drop_all(current);
  const std::lock_guard<std::mutex> hold(lock);
  lost[current] = cudaSuccess;
  last_error = cudaSuccess;
  control().failure.clear();
  return cudaSuccess;
}
