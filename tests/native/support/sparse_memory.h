// Address space of the simulated device in which only the used pages exist: for offsets beyond 2^31.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <stdexcept>

#include "simulator/control.h"

namespace harness {

class SparseMemory {
 public:
  explicit SparseMemory(int64_t bytes) : bytes_(static_cast<size_t>(bytes)) {
    memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED) throw std::runtime_error("no address space");
    nc::simt::register_memory(address(), bytes, 0);
  }
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;
  ~SparseMemory() {
    nc::simt::unregister_memory(address());
    munmap(memory_, bytes_);
  }
  int64_t address() const { return reinterpret_cast<int64_t>(memory_); }
  uint8_t* at(int64_t byte) const { return static_cast<uint8_t*>(memory_) + byte; }

 private:
  size_t bytes_;
  void* memory_;
};

}  // namespace harness
