// Checks that kernels of a CUDA device can access a tensor's memory.
#pragma once

#include <atomic>

#include "cuda_plugin.h"
#include "tensor.h"

namespace nc {

// A lock-free cache of checked addresses. Two-way set-associative with the latest first, so that the ten addresses of a
// call rarely evict each other.
class SeenAddresses {
 public:
  bool has(int64_t address) const {
    const size_t set = set_of(address);
    return slots_[set].load(std::memory_order_relaxed) == address ||
           slots_[set + 1].load(std::memory_order_relaxed) == address;
  }
  void add(int64_t address) {
    const size_t set = set_of(address);
    slots_[set + 1].store(slots_[set].load(std::memory_order_relaxed), std::memory_order_relaxed);
    slots_[set].store(address, std::memory_order_relaxed);
  }

 private:
  static constexpr int kSetBits = 8;

  // The upper bits of the product depend on all bits of the address.
  static size_t set_of(int64_t address) {
    return 2 * static_cast<size_t>((static_cast<uint64_t>(address) * 0x9e3779b97f4a7c15ull) >> (64 - kSetBits));
  }

  std::atomic<int64_t> slots_[size_t{2} << kSetBits] = {};
};

// Refuses a tensor that kernels of the device cannot access according to the driver. Queries the driver every time.
void require_reachable(const CudaPlugin& plugin, int32_t device, const Tensor& tensor);

// The same for a plan, which caches the addresses that passed.
class ReachableMemory {
 public:
  ReachableMemory(const CudaPlugin& plugin, int32_t device);

  void require(const Tensor& tensor) const {
    if (has_bytes(tensor) && !seen_.has(tensor.address)) look_up(tensor);
  }

 private:
  void look_up(const Tensor& tensor) const;

  const CudaPlugin& plugin_;
  int32_t device_;
  bool host_memory_visible_;
  mutable SeenAddresses seen_;
};

}  // namespace nc
