// native/cuda/runtime.h without a GPU: two devices whose memory is ordinary memory, of blocks that are known here, and
// whose streams do everything at once.
#include "cuda/runtime.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <string>

#include "control.h"
#include "device.h"

namespace nc {
namespace simt {
namespace host {
namespace {

thread_local int32_t current = 0;

struct Memory {
  int64_t bytes;
  int32_t device;
  bool own;
};

std::mutex lock;
// Not destroyed: a library is unloaded before the last of its users' threads has ended.
std::map<int64_t, Memory>& blocks() {
  static auto* all = new std::map<int64_t, Memory>;
  return *all;
}
std::set<int64_t>& streams() {
  static auto* all = new std::set<int64_t>;
  return *all;
}

// What every call begins with.
int32_t begin(int32_t device) {
  Control& c = control();
  c.failure.clear();
  if (c.next_call_error != 0) {
    const int32_t error = c.next_call_error;
    c.next_call_error = 0;
    c.failure = "asked for";
    return error;
  }
  return device < 0 || device >= kDevices ? kInvalidDevice : kSuccess;
}

struct ErrorNames {
  int32_t error;
  const char* name;
  const char* text;
};
const ErrorNames kErrors[] = {
    {kSuccess, "cudaSuccess", "no error"},
    {kInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {kMemoryAllocation, "cudaErrorMemoryAllocation", "out of memory"},
    {kInvalidConfiguration, "cudaErrorInvalidConfiguration", "invalid configuration argument"},
    {kInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {kInvalidResourceHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {kLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {kNotSupported, "cudaErrorNotSupported", "operation not supported"},
    {kInvalidClusterSize, "cudaErrorInvalidClusterSize", "invalid cluster size"},
};

}  // namespace

const Device kDevice[kDevices] = {{90, 3, 227 * 1024, true}, {80, 2, 163 * 1024, false}};

int32_t current_device() { return current; }
bool is_stream(int64_t stream) {
  const std::lock_guard<std::mutex> hold(lock);
  return stream == 0 || streams().count(stream) != 0;
}

}  // namespace host

void register_memory(int64_t address, int64_t bytes, int32_t device) {
  const std::lock_guard<std::mutex> hold(host::lock);
  host::blocks()[address] = {bytes, device, false};
}
void unregister_memory(int64_t address) {
  const std::lock_guard<std::mutex> hold(host::lock);
  host::blocks().erase(address);
}

}  // namespace simt

namespace cuda_runtime {

using namespace simt::host;

int32_t device_count(int32_t* count) {
  const int32_t error = begin(0);
  if (error == kSuccess) *count = kDevices;
  return error;
}

int32_t device(int32_t index, CudaDevice* answer) {
  if (const int32_t error = begin(index); error != kSuccess) return error;
  const Device& d = kDevice[index];
  *answer = {};
  answer->compute_capability = d.compute_capability;
  answer->multiprocessors = d.multiprocessors;
  answer->memory_bytes = int64_t{1} << 30;
  answer->shared_bytes = d.shared_bytes;
  answer->clusters = d.clusters ? 1 : 0;
  answer->host_memory_visible = 0;
  std::snprintf(answer->name, sizeof answer->name, "host simulation, not a GPU (%d)", d.compute_capability);
  return kSuccess;
}

const char* error_name(int32_t error) {
  for (const ErrorNames& e : kErrors) {
    if (e.error == error) return e.name;
  }
  return "cudaErrorUnknown";
}

const char* error_text(int32_t error) {
  const char* text = "unknown error";
  for (const ErrorNames& e : kErrors) {
    if (e.error == error) text = e.text;
  }
  if (simt::control().failure.empty()) return text;
  thread_local std::string with_reason;
  with_reason = std::string(text) + " (" + simt::control().failure + ")";
  return with_reason.c_str();
}

int32_t allocate(int32_t device, int64_t bytes, int64_t* address) {
  if (const int32_t error = begin(device); error != kSuccess) return error;
  if (bytes < 0) return kInvalidValue;
  *address = 0;
  if (bytes == 0) return kSuccess;
  void* memory = nullptr;
  // Exactly as many bytes, so that the sanitizer sees the next one; what nobody has written is NaN.
  if (bytes > PTRDIFF_MAX / 2 || posix_memalign(&memory, 256, static_cast<size_t>(bytes)) != 0) {
    return kMemoryAllocation;
  }
  std::memset(memory, 0xff, static_cast<size_t>(bytes));
  *address = reinterpret_cast<int64_t>(memory);
  const std::lock_guard<std::mutex> hold(lock);
  blocks()[*address] = {bytes, device, true};
  return kSuccess;
}

int32_t free(int32_t device, int64_t address) {
  if (const int32_t error = begin(device); error != kSuccess) return error;
  if (address == 0) return kSuccess;
  {
    const std::lock_guard<std::mutex> hold(lock);
    const auto found = blocks().find(address);
    if (found == blocks().end() || !found->second.own) return kInvalidValue;
    blocks().erase(found);
  }
  std::free(reinterpret_cast<void*>(address));
  return kSuccess;
}

int32_t copy(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream) {
  if (const int32_t error = begin(device); error != kSuccess) return error;
  if (!is_stream(stream)) return kInvalidResourceHandle;
  if (bytes < 0) return kInvalidValue;
  if (bytes > 0) {
    std::memmove(reinterpret_cast<void*>(target), reinterpret_cast<const void*>(source), static_cast<size_t>(bytes));
  }
  return kSuccess;
}

int32_t zero(int32_t device, int64_t address, int64_t bytes, int64_t stream) {
  if (const int32_t error = begin(device); error != kSuccess) return error;
  if (!is_stream(stream)) return kInvalidResourceHandle;
  if (bytes < 0) return kInvalidValue;
  int32_t owner = kUnknownMemory;
  if (bytes > 0 && (memory_device(address, &owner) != kSuccess || owner == kUnknownMemory)) return kInvalidValue;
  if (bytes > 0) std::memset(reinterpret_cast<void*>(address), 0, static_cast<size_t>(bytes));
  return kSuccess;
}

int32_t stream_create(int32_t device, int64_t* stream) {
  if (const int32_t error = begin(device); error != kSuccess) return error;
  static int64_t last = 0x57000;
  const std::lock_guard<std::mutex> hold(lock);
  *stream = ++last;
  streams().insert(*stream);
  return kSuccess;
}

int32_t stream_destroy(int32_t device, int64_t stream) {
  if (const int32_t error = begin(device); error != kSuccess) return error;
  const std::lock_guard<std::mutex> hold(lock);
  return streams().erase(stream) != 0 ? kSuccess : kInvalidResourceHandle;
}

int32_t stream_synchronize(int32_t device, int64_t stream) {
  if (const int32_t error = begin(device); error != kSuccess) return error;
  return is_stream(stream) ? kSuccess : kInvalidResourceHandle;
}

int32_t memory_device(int64_t address, int32_t* device) {
  if (const int32_t error = begin(0); error != kSuccess) return error;
  const std::lock_guard<std::mutex> hold(lock);
  *device = kUnknownMemory;
  auto after = blocks().upper_bound(address);
  if (after == blocks().begin()) return kSuccess;
  --after;
  if (address - after->first < after->second.bytes) *device = after->second.device;
  return kSuccess;
}

int32_t host_allocate(int64_t bytes, int64_t* address) {
  if (const int32_t error = begin(0); error != kSuccess) return error;
  if (bytes <= 0) return kInvalidValue;
  void* memory = bytes > PTRDIFF_MAX / 2 ? nullptr : std::malloc(static_cast<size_t>(bytes));
  if (memory == nullptr) return kMemoryAllocation;
  *address = reinterpret_cast<int64_t>(memory);
  const std::lock_guard<std::mutex> hold(lock);
  blocks()[*address] = {bytes, kAnyDevice, true};
  return kSuccess;
}

int32_t host_free(int64_t address) { return free(0, address); }

CurrentDevice::CurrentDevice(int32_t device) : previous_(current), error_(kSuccess) {
  if (device < 0 || device >= kDevices) {
    error_ = kInvalidDevice;
  } else {
    current = device;
  }
}
CurrentDevice::~CurrentDevice() { current = previous_; }

}  // namespace cuda_runtime
}  // namespace nc
