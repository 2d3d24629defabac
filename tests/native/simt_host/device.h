// What the simulated machine (machine.cpp) and the simulated runtime (runtime.cpp) know of each other.
#pragma once

#include <cstdint>

namespace nc {
namespace simt {
namespace host {

// The runtime's own numbers.
enum Error : int32_t {
  kSuccess = 0,
  kInvalidValue = 1,
  kMemoryAllocation = 2,
  kInvalidConfiguration = 9,
  kInvalidDevice = 101,
  kInvalidResourceHandle = 400,
  kLaunchFailure = 719,
  kNotSupported = 801,
  kInvalidClusterSize = 912,
};

constexpr int kDevices = 2;
struct Device {
  int compute_capability;
  int multiprocessors;
  int shared_bytes;
  bool clusters;
};
extern const Device kDevice[kDevices];

// The calling thread's.
int32_t current_device();
bool is_stream(int64_t stream);

}  // namespace host
}  // namespace simt
}  // namespace nc
