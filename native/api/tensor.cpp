#include "tensor.h"

#include <cinttypes>

namespace nc {
namespace {

[[noreturn]] void fail_overlap(const Tensor& output, const Tensor& other, const char* expected) {
  fail(NC_INVALID_ARGUMENT, "%s: shares memory with %s (addresses %" PRIx64 " and %" PRIx64 "), expected %s",
       output.name, other.name, static_cast<uint64_t>(output.address), static_cast<uint64_t>(other.address), expected);
}

}  // namespace

void refuse_matrix(const char* name, int64_t rows, int64_t n, int64_t stride, const char* length) {
  if (stride < n && length == nullptr) {
    fail(NC_INVALID_ARGUMENT, "%s: row stride %" PRId64 ", expected at least the %" PRId64 " columns", name, stride, n);
  }
  if (stride < n) {
    fail(NC_INVALID_ARGUMENT, "%s: row stride %" PRId64 ", expected at least the %s %" PRId64, name, stride, length, n);
  }
  fail(NC_INVALID_ARGUMENT, "%s: %" PRId64 " rows at a row stride of %" PRId64 " elements exceed the address space",
       name, rows, stride);
}

void refuse_multiple(const Tensor& t, int64_t divisor) {
  fail(NC_INVALID_ARGUMENT, "%s: address %" PRIx64 ", expected a multiple of %" PRId64, t.name,
       static_cast<uint64_t>(t.address), divisor);
}

void refuse_absent(const Tensor& t, const char* why) {
  fail(NC_INVALID_ARGUMENT, "%s: address 0, but %s", t.name, why);
}

void refuse_present(const Tensor& t, const char* why) {
  fail(NC_INVALID_ARGUMENT, "%s: address %" PRIx64 ", expected 0: %s", t.name, static_cast<uint64_t>(t.address), why);
}

bool overlap(const Tensor& a, const Tensor& b) {
  if (!may_overlap(a, b)) return false;
  if (a.rows == 0 || b.rows == 0 || a.row_bytes == 0 || b.row_bytes == 0) return false;
  if (a.stride_bytes != b.stride_bytes || a.rows == 1 || b.rows == 1) return true;
  const int64_t stride = a.stride_bytes;
  const int64_t offset = ((b.address - a.address) % stride + stride) % stride;
  return offset < a.row_bytes || offset + b.row_bytes > stride;
}

void refuse_overlap_unless_in_place(const Tensor& output, const Tensor& other) {
  if (output.same_place(other) || !overlap(output, other)) return;
  fail_overlap(output, other, "memory of its own, or exactly the same address, row stride and element size");
}

void refuse_overlap(const Tensor& output, const Tensor& other) {
  if (overlap(output, other)) fail_overlap(output, other, "memory of its own");
}

void require_not_negative(const char* name, int64_t value) {
  if (value < 0) fail(NC_INVALID_ARGUMENT, "%s: %" PRId64 ", expected at least 0", name, value);
}

void require_range(const char* name, int32_t value, int32_t last) {
  if (value < 0 || value > last) fail(NC_INVALID_ARGUMENT, "%s: %d, expected 0 to %d", name, value, last);
}

void require_within(const char* what, int64_t begin, int64_t end, int64_t limit) {
  if (begin < 0 || end < begin || end > limit) {
    fail(NC_INVALID_ARGUMENT, "%s: %" PRId64 " to %" PRId64 ", expected a range within 0 to %" PRId64, what, begin, end,
         limit);
  }
}

}  // namespace nc
