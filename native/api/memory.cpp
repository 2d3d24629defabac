// Aligned host memory for callers, and the count of allocated bytes.
#include <atomic>
#include <cinttypes>
#include <cstdlib>
#include <cstring>

#include "../cpu/levels.h"
#include "cuda_plugin.h"
#include "tensor.h"

namespace nc {
namespace {

constexpr int64_t kAlignment = 64;

// Each block is preceded by its size, in a header of one alignment unit.
constexpr int64_t kHeader = kAlignment;

std::atomic<int64_t> given_out{0};

int64_t rounded(int64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

void require_request(int64_t bytes, const int64_t* address) {
  if (bytes < 0 || bytes > INT64_MAX - 2 * kAlignment) {
    fail(NC_INVALID_ARGUMENT, "bytes: %" PRId64 ", expected at least 0 and within the address space", bytes);
  }
  if (address == nullptr) fail(NC_INVALID_ARGUMENT, "address: null, expected a pointer to the result");
}

// Writes the header of a new block, counts it and returns the caller's address.
int64_t handed_out(void* memory, int64_t bytes) {
  std::memcpy(memory, &bytes, sizeof(bytes));
  given_out.fetch_add(bytes, std::memory_order_relaxed);
  return reinterpret_cast<int64_t>(memory) + kHeader;
}

// From the caller's address: the block with its header, and its size.
void* block_of(int64_t address) { return reinterpret_cast<void*>(address - kHeader); }
int64_t bytes_of_block(int64_t address) {
  int64_t bytes;
  std::memcpy(&bytes, block_of(address), sizeof(bytes));
  return bytes;
}
void count_back(int64_t bytes) { given_out.fetch_sub(bytes, std::memory_order_relaxed); }

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_request(bytes, address);
    void* memory = std::aligned_alloc(nc::kAlignment, static_cast<size_t>(nc::kHeader + nc::rounded(bytes)));
    if (memory == nullptr) nc::fail(NC_OUT_OF_MEMORY, "%" PRId64 " bytes could not be allocated", bytes);
    *address = nc::handed_out(memory, bytes);
  });
}

int32_t nc_free(int64_t address) NC_NOEXCEPT {
  if (address == 0) return NC_OK;
  nc::count_back(nc::bytes_of_block(address));
  std::free(nc::block_of(address));
  return NC_OK;
}

int32_t nc_cuda_host_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_request(bytes, address);
    const nc::CudaPlugin& plugin = *nc::require_cuda().plugin;
    int64_t memory = 0;
    nc::require_success(plugin, plugin.host_allocate(nc::kHeader + bytes, &memory), "allocating page-locked memory", 0);
    *address = nc::handed_out(reinterpret_cast<void*>(memory), bytes);
  });
}

int32_t nc_cuda_host_free(int64_t address) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (address == 0) return;
    const nc::CudaPlugin& plugin = *nc::require_cuda().plugin;
    const int64_t bytes = nc::bytes_of_block(address);
    nc::require_success(plugin, plugin.host_free(reinterpret_cast<int64_t>(nc::block_of(address))),
                        "freeing page-locked memory", 0);
    nc::count_back(bytes);
  });
}

int32_t nc_copy(int64_t to, int64_t from, int64_t bytes) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (bytes < 0) nc::fail(NC_INVALID_ARGUMENT, "bytes: %" PRId64 ", expected at least 0", bytes);
    if (bytes == 0) return;
    const nc::Tensor source = nc::vector("from", from, bytes, 1);
    const nc::Tensor target = nc::vector("to", to, bytes, 1);
    nc::require_present(source, "there are bytes to copy");
    nc::require_present(target, "there are bytes to copy");
    nc::require_apart(target, source);
    nc::kernels_of(nc::CpuLevel::best)->copy(nc::pointer(target), nc::pointer(source), bytes);
  });
}

int64_t nc_allocated_bytes(void) NC_NOEXCEPT { return nc::given_out.load(std::memory_order_relaxed); }

}  // extern "C"
