// Tensors as passed through the C ABI, and their checks.
#pragma once

#include "../core/dtype.h"
#include "error.h"

namespace nc {

// rows x row_bytes at a stride. One-dimensional tensors (weight, bias, statistics, weight gradients) are one row.
struct Tensor {
  const char* name;
  int64_t address;
  int64_t rows;
  int64_t row_bytes;
  int64_t stride_bytes;
  int64_t width;  // bytes of an element

  bool present() const { return address != 0; }
  bool same_place(const Tensor& o) const {
    return address == o.address && width == o.width && (rows <= 1 || stride_bytes == o.stride_bytes);
  }
};

inline bool has_bytes(const Tensor& t) { return t.present() && t.rows > 0 && t.row_bytes > 0; }

// A matrix of rows x n elements; refuses a stride shorter than a row and an end beyond the address space. Address 0
// makes an absent tensor. `length` names n in the message; null: it is the number of columns.
[[noreturn]] void refuse_matrix(const char* name, int64_t rows, int64_t n, int64_t stride, const char* length);
inline Tensor matrix(const char* name, int64_t address, int64_t rows, int64_t n, int64_t stride, int64_t width,
                     const char* length = nullptr) {
  if (address == 0) return {name, 0, 0, 0, 0, width};
  int64_t stride_bytes, all_bytes, end;
  if (stride < n || __builtin_mul_overflow(stride, width, &stride_bytes) ||
      __builtin_mul_overflow(stride_bytes, rows, &all_bytes) || __builtin_add_overflow(address, all_bytes, &end)) {
    refuse_matrix(name, rows, n, stride, length);
  }
  return {name, address, rows, n * width, stride_bytes, width};
}
inline Tensor vector(const char* name, int64_t address, int64_t n, int64_t width) {
  return matrix(name, address, 1, n, n, width);
}

// Refuses an address that is not a multiple.
[[noreturn]] void refuse_multiple(const Tensor& t, int64_t divisor);
inline void require_multiple(const Tensor& t, int64_t divisor) {
  if (t.address % divisor != 0) refuse_multiple(t, divisor);
}

inline char* pointer(const Tensor& t) { return reinterpret_cast<char*>(t.address); }

[[noreturn]] void refuse_absent(const Tensor& t, const char* why);
[[noreturn]] void refuse_present(const Tensor& t, const char* why);
inline void require_present(const Tensor& t, const char* why) {
  if (!t.present()) refuse_absent(t, why);
}
inline void require_absent(const Tensor& t, const char* why) {
  if (t.present()) refuse_present(t, why);
}

// The address after the last byte.
inline int64_t end_of(const Tensor& t) {
  return t.rows == 0 ? t.address : t.address + (t.rows - 1) * t.stride_bytes + t.row_bytes;
}

// Whether the tensors share a byte. Exact if the strides are equal, as for slices of one larger tensor; with different
// strides, whether their extents overlap.
bool overlap(const Tensor& a, const Tensor& b);

// A quick test of extents; most tensors are absent or far apart.
inline bool may_overlap(const Tensor& a, const Tensor& b) {
  return a.present() && b.present() && a.address < end_of(b) && b.address < end_of(a);
}

// Refuse an output that shares bytes with another tensor; the first form allows exactly the same place.
void refuse_overlap_unless_in_place(const Tensor& output, const Tensor& other);
void refuse_overlap(const Tensor& output, const Tensor& other);
inline void require_apart_or_in_place(const Tensor& output, const Tensor& other) {
  if (may_overlap(output, other)) refuse_overlap_unless_in_place(output, other);
}
inline void require_apart(const Tensor& output, const Tensor& other) {
  if (may_overlap(output, other)) refuse_overlap(output, other);
}

// Refuses a value below 0.
void require_not_negative(const char* name, int64_t value);
void require_range(const char* name, int32_t value, int32_t last);
void require_within(const char* what, int64_t begin, int64_t end, int64_t limit);

}  // namespace nc
