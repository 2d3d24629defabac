// What the simulated machine (machine.cpp) and the simulated runtime (runtime_*.cpp) know of each other.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "simt_host.h"

namespace nc {
namespace simt {
namespace host {

constexpr int kDevices = 2;
constexpr int kRegistersOfMultiprocessor = 65536;
struct Device {
  int compute_capability;
  int multiprocessors;
  int shared_bytes;  // the most of a block, static and dynamic
  bool clusters;
};
extern const Device kDevice[kDevices];

// One lock for all that is told apart by handle or address below. Never held while work runs.
extern std::mutex lock;

// runtime_devices.cpp: what every call begins and ends with. The calling thread's current device.
int32_t current_device();
// A call that may fail by request of a test, or because the device is lost; clears the thread's reason.
cudaError_t begin();
// Notes the error as the thread's last one.
cudaError_t noted(cudaError_t error);
// The error, with the reason for cudaGetErrorString.
cudaError_t refused(cudaError_t error, const char* why);
// The device takes no more calls.
void lose(int32_t device, cudaError_t error);

// runtime_memory.cpp: memory that kernels may reach. `to_host`: from an address of it to where its bytes are.
struct MemoryRange {
  int64_t begin, end;
  int32_t device;  // or kAnyDevice
  intptr_t to_host;
};
// Of what has not been freed. An address that is not in it is the host's, or nobody's.
bool find_memory(int64_t address, MemoryRange* range);

// runtime_streams.cpp
using Work = std::function<cudaError_t()>;
struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool broken = false;
  std::vector<Work> work;
};
// Puts work into a stream, or into the graph that it is captured for. `why`: the work, in messages.
cudaError_t enqueue(cudaStream_t stream, Work work);
// Of a stream that exists; null, of the current device's default one. Null if there is none.
cudaStream_t stream_of(cudaStream_t stream);
int32_t device_of(cudaStream_t stream);
bool is_captured(cudaStream_t stream);
// Breaks a stream's capture, if it has one.
void break_capture(cudaStream_t stream);
// Whether a capture forbids the calling thread what may depend on other work. Such a call breaks the capture.
bool capture_forbids();
// Runs all that is in the streams of a device, those that have been destroyed included.
cudaError_t run_all(int32_t device);
void drop_all(int32_t device);

// machine.cpp
struct KernelLaunch {
  const void* kernel;
  LaunchShape shape;
  void (*call)(const void* kernel, const void* parameters);
  std::vector<char> parameters;
  int32_t device;
  int carveout;
};
cudaError_t run(const KernelLaunch& launch);

}  // namespace host
}  // namespace simt
}  // namespace nc

// A stream of a device. Its work waits until something asks for it.
struct CUstream_st {
  int32_t device;
  std::deque<nc::simt::host::Work> queue;
  std::mutex running;
  nc::simt::host::Capture* capture = nullptr;
};
