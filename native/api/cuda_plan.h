// A norm on a CUDA device: what the plugin prepared, and which addresses it is known to reach.
#pragma once

#include <atomic>

#include "cuda_plugin.h"
#include "tensor.h"

namespace nc {

// Addresses that have been seen, as far as there is room: where two share a slot, the later one stays.
class SeenAddresses {
 public:
  bool has(int64_t address) const { return slot(address).load(std::memory_order_relaxed) == address; }
  void add(int64_t address) { slot(address).store(address, std::memory_order_relaxed); }

 private:
  static constexpr int kSlotBits = 9;

  // Multiplied, since addresses of tensors have their differences in the middle bits.
  static size_t index(int64_t address) {
    return static_cast<size_t>((static_cast<uint64_t>(address) * 0x9e3779b97f4a7c15ull) >> (64 - kSlotBits));
  }
  const std::atomic<int64_t>& slot(int64_t address) const { return slots_[index(address)]; }
  std::atomic<int64_t>& slot(int64_t address) { return slots_[index(address)]; }

  std::atomic<int64_t> slots_[size_t{1} << kSlotBits] = {};
};

class CudaPlan {
 public:
  // Refuses what is no device's index.
  CudaPlan(const NormSpec& spec, int32_t device);

  int32_t device() const { return norm_.device; }

  // Refuses a tensor whose memory the driver knows kernels of this device not to reach.
  void require_reachable(const Tensor& tensor) const {
    if (tensor.present() && tensor.row_bytes > 0 && tensor.rows > 0 && !seen_.has(tensor.address)) look_up(tensor);
  }

  void forward(const ForwardArguments& a, int64_t stream) const;
  void backward(const BackwardArguments& a, int64_t stream) const;
  void columns(const ColumnArguments* gradients, int32_t count, int64_t stream) const;

 private:
  void look_up(const Tensor& tensor) const;

  const CudaPlugin& plugin_;
  CudaNorm norm_;
  bool host_memory_visible_;
  mutable SeenAddresses seen_;
};

}  // namespace nc
