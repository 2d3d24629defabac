// A tensor at any byte offset and with any row stride, in memory whose other bytes are guarded.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "support/numbers.h"

namespace harness {

using reference::Format;

#if defined(__SANITIZE_ADDRESS__)
inline constexpr size_t kGuard = 0;  // the sanitizer guards the ends, against reads as well
#else
inline constexpr size_t kGuard = 128;
#endif

class Tensor {
 public:
  Tensor() = default;

  // Element (0, 0) lies `offset` bytes after a 64-byte boundary (or, with the sanitizer, after malloc's address).
  Tensor(int32_t dtype, int64_t rows, int64_t columns, int64_t stride, size_t offset)
      : format_(&reference::format(dtype)), rows_(rows), columns_(columns), stride_(stride), misalignment_(offset) {
    const auto elements = rows == 0 ? 0 : (rows - 1) * stride + columns;
    size_ = static_cast<size_t>(elements) * static_cast<size_t>(format_->bytes);
    memory_.resize(kGuard + 63 * (kGuard > 0) + offset + size_ + kGuard);
    memory_.shrink_to_fit();
    const auto base = reinterpret_cast<uintptr_t>(memory_.data()) + kGuard;
    first_ = kGuard + (kGuard > 0 ? (64 - base % 64) % 64 : 0) + offset;
    for (size_t i = 0; i < memory_.size(); ++i) memory_[i] = pattern(i);
  }

  bool present() const { return format_ != nullptr; }
  const Format& format() const { return *format_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t stride() const { return stride_; }
  int64_t address() const { return present() ? reinterpret_cast<int64_t>(memory_.data() + first_) : 0; }

  uint64_t bits(int64_t row, int64_t column) const { return reference::loadBits(*format_, at(row, column)); }
  void setBits(int64_t row, int64_t column, uint64_t bits) {
    reference::storeBits(*format_, const_cast<uint8_t*>(at(row, column)), bits);
  }
  double value(int64_t row, int64_t column) const { return reference::decode(*format_, bits(row, column)); }

  void fill(const std::vector<uint64_t>& bits) {
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < columns_; ++c) setBits(r, c, bits[static_cast<size_t>(r * columns_ + c)]);
    }
  }

  // The patterns of all elements. NaNs of the wide formats are made canonical: payloads are unspecified.
  std::vector<uint64_t> contents() const {
    std::vector<uint64_t> all;
    all.reserve(static_cast<size_t>(rows_ * columns_));
    for (int64_t r = 0; r < rows_; ++r) {
      for (int64_t c = 0; c < columns_; ++c) {
        uint64_t b = bits(r, c);
        if (format_->bytes >= 4 && std::isnan(reference::decode(*format_, b))) b = format_->nan;
        all.push_back(b);
      }
    }
    return all;
  }

  // Whether every byte outside the elements is unchanged.
  bool surroundingsIntact() const {
    const size_t row_bytes = static_cast<size_t>(columns_ * format_->bytes);
    const size_t stride_bytes = static_cast<size_t>(stride_ * format_->bytes);
    size_t i = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      const size_t begin = first_ + static_cast<size_t>(r) * stride_bytes;
      for (; i < begin; ++i) {
        if (memory_[i] != pattern(i)) return false;
      }
      i = begin + row_bytes;
    }
    for (; i < memory_.size(); ++i) {
      if (memory_[i] != pattern(i)) return false;
    }
    return true;
  }

  // All memory, including the guarded bytes.
  const std::vector<uint8_t>& memory() const { return memory_; }
  std::vector<uint8_t>& memory() { return memory_; }
  size_t offset() const { return first_; }               // of element (0, 0) in memory()
  size_t misalignment() const { return misalignment_; }  // bytes after a 64-byte boundary, as requested

 private:
  static uint8_t pattern(size_t i) { return static_cast<uint8_t>(i * 167 + 13); }
  const uint8_t* at(int64_t row, int64_t column) const {
    return memory_.data() + first_ + static_cast<size_t>((row * stride_ + column) * format_->bytes);
  }

  const Format* format_ = nullptr;
  int64_t rows_ = 0, columns_ = 0, stride_ = 0;
  std::vector<uint8_t> memory_;
  size_t misalignment_ = 0, first_ = 0, size_ = 0;
};

}  // namespace harness
