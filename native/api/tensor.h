// Tensors as the C interface gets them, and what can be wrong with them.
#pragma once

#include "../core/dtype.h"
#include "error.h"

namespace nc {

// rows x row_bytes at a stride. Vectors (weight, bias, statistics, gradients of weights) are one row.
struct Tensor {
  const char* name;
  int64_t address;
  int64_t rows;
  int64_t row_bytes;
  int64_t stride_bytes;
  int64_t width;  // of an element

  bool present() const { return address != 0; }
  bool same_place(const Tensor& o) const {
    return address == o.address && width == o.width && (rows <= 1 || stride_bytes == o.stride_bytes);
  }
};

inline bool has_bytes(const Tensor& t) { return t.present() && t.rows > 0 && t.row_bytes > 0; }

// A matrix of rows x n elements; refuses a stride shorter than a row and rows whose end no address can reach. Absent
// (address 0) is accepted.
Tensor matrix(const char* name, int64_t address, int64_t rows, int64_t n, int64_t stride, int64_t width);
Tensor vector(const char* name, int64_t address, int64_t n, int64_t width);
// float32 numbers that are read or raised in place: refuses an address off their boundary.
Tensor floats(const char* name, int64_t address, int64_t n);

inline char* pointer(const Tensor& t) { return reinterpret_cast<char*>(t.address); }

void require_present(const Tensor& t, const char* why);
void require_absent(const Tensor& t, const char* why);

// Whether any byte belongs to both. Rows that interleave at one stride, as slices of one larger tensor do, are told
// apart; at different strides whole extents are compared.
bool overlap(const Tensor& a, const Tensor& b);

// Refuses an output that shares bytes with another tensor; the first form allows it to be the other one, in place.
void require_apart_or_in_place(const Tensor& output, const Tensor& other);
void require_apart(const Tensor& output, const Tensor& other);

void require_range(const char* name, int32_t value, int32_t last);
void require_within(const char* what, int64_t begin, int64_t end, int64_t limit);

}  // namespace nc
