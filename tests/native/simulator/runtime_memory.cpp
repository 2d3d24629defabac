// The simulated runtime: device memory, which is ordinary memory at other addresses, and copies.
#include <cstdlib>
#include <cstring>
#include <map>

#include "control.h"
#include "cuda/plugin.h"
#include "device.h"

namespace nc {
namespace simt {
namespace host {
namespace {

struct Memory {
  int64_t bytes;
  int32_t device;
  char* storage;  // the bytes
  bool pinned;
  bool own;  // allocated here, otherwise only registered
};

// Never destroyed: a user's threads may outlive static destructors.
std::map<int64_t, Memory>& blocks() {
  static auto* const all = new std::map<int64_t, Memory>;
  return *all;
}

// Device addresses. No process uses this range (bit 62 differs from bit 63), so dereferencing one outside the machine
// crashes. No address is used twice, so that freed memory stays unknown.
constexpr int64_t kFirstAddress = int64_t{1} << 62;
constexpr int64_t kGap = 4096, kAlignment = 256;
int64_t next_address = kFirstAddress;

const Memory* find(int64_t address, int64_t* begin) {
  auto after = blocks().upper_bound(address);
  if (after == blocks().begin()) return nullptr;
  --after;
  if (address - after->first >= after->second.bytes) return nullptr;
  *begin = after->first;
  return &after->second;
}

int64_t at(const void* p) { return reinterpret_cast<int64_t>(p); }

// The host address of a copy's bytes; null, with the error, if they are not in one block. Host memory maps to itself.
char* bytes_at(const void* address, size_t bytes, bool* pageable, cudaError_t* error) {
  const std::lock_guard<std::mutex> hold(lock);
  int64_t begin = 0;
  const Memory* const memory = find(at(address), &begin);
  if (memory == nullptr) {
    if (at(address) >= kFirstAddress) {
      *error = refused(cudaErrorInvalidValue, "device memory that is not, or no longer, allocated");
      return nullptr;
    }
    *pageable = true;
    return static_cast<char*>(const_cast<void*>(address));
  }
  const int64_t offset = at(address) - begin;
  if (static_cast<int64_t>(bytes) > memory->bytes - offset) {
    *error = refused(cudaErrorInvalidValue, "more bytes than the allocation has");
    return nullptr;
  }
  return memory->storage + offset;
}

// Frees an allocation after everything that might use it has run.
cudaError_t release(void* address, bool pinned) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return error;
  if (address == nullptr) return cudaSuccess;
  if (capture_forbids()) {
    return refused(cudaErrorStreamCaptureUnsupported, "memory is freed while a stream is captured");
  }
  int32_t device = 0;
  {
    const std::lock_guard<std::mutex> hold(lock);
    const auto found = blocks().find(at(address));
    if (found == blocks().end() || !found->second.own || found->second.pinned != pinned) {
      return refused(cudaErrorInvalidValue, "no address that was given out for this");
    }
    device = found->second.device;
  }
  if (device >= 0 && device != current_device()) {
    return refused(cudaErrorInvalidValue, "memory of another device than the current one");
  }
  for (int32_t d = 0; d < kDevices; ++d) {
    if (device != d && !pinned) continue;
    if (const cudaError_t error = run_all(d); error != cudaSuccess) return error;
  }
  const std::lock_guard<std::mutex> hold(lock);
  const auto found = blocks().find(at(address));
  if (found == blocks().end()) return refused(cudaErrorInvalidValue, "freed twice at once");
  std::free(found->second.storage);
  blocks().erase(found);
  return cudaSuccess;
}

cudaError_t allocated(void** address, size_t bytes, bool pinned) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return error;
  if (capture_forbids()) {
    return refused(cudaErrorStreamCaptureUnsupported, "memory is allocated while a stream is captured");
  }
  *address = nullptr;
  if (bytes == 0) return pinned ? cudaErrorInvalidValue : cudaSuccess;
  if (bytes > size_t{1} << 40) return cudaErrorMemoryAllocation;
  // Exact size, so that sanitizers detect the next byte. Unwritten memory is NaN.
  void* storage = nullptr;
  if (posix_memalign(&storage, kAlignment, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(storage, 0xff, bytes);
  const std::lock_guard<std::mutex> hold(lock);
  int64_t given = at(storage);
  if (!pinned) {
    given = next_address;
    next_address += (static_cast<int64_t>(bytes) + kGap + kAlignment - 1) / kAlignment * kAlignment;
  }
  blocks()[given] = {static_cast<int64_t>(bytes), pinned ? kAnyDevice : current_device(), static_cast<char*>(storage),
                     pinned, true};
  *address = reinterpret_cast<void*>(given);
  return cudaSuccess;
}

}  // namespace

bool find_memory(int64_t address, MemoryRange* range) {
  const std::lock_guard<std::mutex> hold(lock);
  int64_t begin = 0;
  const Memory* const memory = find(address, &begin);
  if (memory == nullptr) return false;
  *range = {begin, begin + memory->bytes, memory->device, at(memory->storage) - begin};
  return true;
}

}  // namespace host

void register_memory(int64_t address, int64_t bytes, int32_t device) {
  const std::lock_guard<std::mutex> hold(host::lock);
  host::blocks()[address] = {bytes, device, reinterpret_cast<char*>(address), false, false};
}
void unregister_memory(int64_t address) {
  const std::lock_guard<std::mutex> hold(host::lock);
  host::blocks().erase(address);
}
void* host_view(int64_t address) {
  host::MemoryRange range{};
  return host::find_memory(address, &range) ? reinterpret_cast<void*>(address + range.to_host) : nullptr;
}

}  // namespace simt
}  // namespace nc

using namespace nc::simt::host;

cudaError_t cudaMalloc(void** address, size_t bytes) { return noted(allocated(address, bytes, false)); }
cudaError_t cudaHostAlloc(void** address, size_t bytes, unsigned) { return noted(allocated(address, bytes, true)); }
cudaError_t cudaFree(void* address) { return noted(release(address, false)); }
cudaError_t cudaFreeHost(void* address) { return noted(release(address, true)); }

cudaError_t cudaMemcpyAsync(void* target, const void* source, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  cudaError_t error = begin();
  if (error != cudaSuccess) return noted(error);
  if (bytes == 0) return cudaSuccess;
  bool pageable = false;
  char* const to = bytes_at(target, bytes, &pageable, &error);
  const char* const from = to == nullptr ? nullptr : bytes_at(source, bytes, &pageable, &error);
  if (from == nullptr) return noted(error);
  if (pageable && is_captured(stream)) {
    break_capture(stream);
    return noted(refused(cudaErrorStreamCaptureUnsupported, "a copy of pageable memory is captured"));
  }
  return noted(enqueue(stream, [to, from, bytes] {
    std::memmove(to, from, bytes);
    return cudaSuccess;
  }));
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream) {
  cudaError_t error = begin();
  if (error != cudaSuccess) return noted(error);
  if (bytes == 0) return cudaSuccess;
  bool pageable = false;
  char* const to = bytes_at(address, bytes, &pageable, &error);
  if (to == nullptr) return noted(error);
  MemoryRange range{};
  if (pageable || !find_memory(reinterpret_cast<int64_t>(address), &range) ||
      (range.device >= 0 && range.device != current_device())) {
    return noted(refused(cudaErrorInvalidValue, "expected memory of the current device"));
  }
  return noted(enqueue(stream, [to, value, bytes] {
    std::memset(to, value, bytes);
    return cudaSuccess;
  }));
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  MemoryRange range{};
  *attributes = {cudaMemoryTypeUnregistered, -2};
  if (find_memory(reinterpret_cast<int64_t>(address), &range)) {
    *attributes = {range.device == nc::kAnyDevice ? cudaMemoryTypeHost : cudaMemoryTypeDevice, range.device};
  }
  return cudaSuccess;
}
