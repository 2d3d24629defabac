// Conversion between any two formats, element by element.
#include <cinttypes>

#include "plan.h"
#include "tensor.h"

namespace nc {
namespace {

DType checked_dtype(const char* name, int32_t value) {
  if (value < NC_FLOAT64 || value > NC_FLOAT8_E8M0) {
    fail(NC_INVALID_ARGUMENT, "%s: %d, expected %d to %d", name, value, NC_FLOAT64, NC_FLOAT8_E8M0);
  }
  return static_cast<DType>(value);
}

void convert(int64_t source, DType from, int64_t target, DType to, int64_t count) {
  const char* in = reinterpret_cast<const char*>(source);
  char* out = reinterpret_cast<char*>(target);
  const int in_bytes = bytes_of(from);
  const int out_bytes = bytes_of(to);
  for (int64_t i = 0; i < count; ++i) store_scalar(to, out + i * out_bytes, load_scalar(from, in + i * in_bytes));
}

}  // namespace
}  // namespace nc

extern "C" int32_t nc_convert(int64_t source, int32_t source_dtype, int64_t target, int32_t target_dtype,
                              int64_t count) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::DType from = nc::checked_dtype("source_dtype", source_dtype);
    const nc::DType to = nc::checked_dtype("target_dtype", target_dtype);
    if (to == nc::DType::float8_e8m0) {
      nc::fail(NC_UNSUPPORTED, "target_dtype: float8_e8m0 holds only block scales, expected another dtype");
    }
    if (count < 0) nc::fail(NC_INVALID_ARGUMENT, "count: %" PRId64 ", expected at least 0", count);
    if (count == 0) return;
    const nc::Tensor in = nc::matrix("source", source, 1, count, count, nc::bytes_of(from));
    const nc::Tensor out = nc::matrix("target", target, 1, count, count, nc::bytes_of(to));
    nc::require_present(in, "there are elements to convert");
    nc::require_present(out, "there are elements to convert");
    nc::require_apart_or_in_place(out, in);
    nc::convert(source, from, target, to, count);
  });
}
