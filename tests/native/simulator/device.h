// The interface between the simulated machine (machine.cpp) and the simulated runtime (runtime_*.cpp).
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
  int shared_bytes;  // maximum of a block, static and dynamic
  bool clusters;
};
extern const Device kDevice[kDevices];

// One lock for all tables below that are keyed by handle or address. Never held while work runs.
extern std::mutex lock;

// runtime_devices.cpp: the beginning and end of every call. The calling thread's current device.
int32_t current_device();
// Starts a call that may fail at a test's request or because the device is lost; clears the thread's error reason.
cudaError_t begin();
// Stores the error as the thread's last one.
cudaError_t noted(cudaError_t error);
// Returns the error and stores the reason for cudaGetErrorString.
cudaError_t refused(cudaError_t error, const char* why);
// Makes the device refuse all further calls.
void lose(int32_t device, cudaError_t error);

// runtime_memory.cpp: memory that kernels may access. `to_host`: offset from a device address to the host address.
struct MemoryRange {
  int64_t begin, end;
  int32_t device;  // or kAnyDevice
  intptr_t to_host;
};
// Looks up allocated memory; false for a host or invalid address.
bool find_memory(int64_t address, MemoryRange* range);

// runtime_streams.cpp
using Work = std::function<cudaError_t()>;
struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  bool broken = false;
  std::vector<Work> work;
};
// Enqueues work into a stream, or into the graph of its capture. `why`: describes the work in messages.
cudaError_t enqueue(cudaStream_t stream, Work work);
// Looks up a stream; null means the current device's default stream. Returns null if there is none.
cudaStream_t stream_of(cudaStream_t stream);
int32_t device_of(cudaStream_t stream);
bool is_captured(cudaStream_t stream);
// Breaks a stream's capture, if it has one.
void break_capture(cudaStream_t stream);
// Whether a capture forbids the calling thread calls that may depend on other work. Such a call breaks the capture.
bool capture_forbids();
// Runs all work of a device's streams, including destroyed ones.
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

// A stream of a device. Its work runs when something waits for it.
struct CUstream_st {
  int32_t device;
  std::deque<nc::simt::host::Work> queue;
  std::mutex running;
  nc::simt::host::Capture* capture = nullptr;
};
