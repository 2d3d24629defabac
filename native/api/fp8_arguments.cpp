#include "fp8_arguments.h"

#include <cinttypes>

#include "../core/fp8_scale.h"
#include "../core/reduction_order.h"

namespace nc {
namespace {

DType wide_dtype(const char* name, int32_t value) {
  if (value < NC_FLOAT32 || value > NC_FLOAT16) {
    fail(NC_INVALID_ARGUMENT, "%s: %d, expected %d (float32), %d (bfloat16) or %d (float16)", name, value, NC_FLOAT32,
         NC_BFLOAT16, NC_FLOAT16);
  }
  return static_cast<DType>(value);
}

DType fp8_format(int32_t value) {
  if (value != NC_FLOAT8_E4M3 && value != NC_FLOAT8_E5M2) {
    fail(NC_INVALID_ARGUMENT, "format: %d, expected %d (float8_e4m3) or %d (float8_e5m2)", value, NC_FLOAT8_E4M3,
         NC_FLOAT8_E5M2);
  }
  return static_cast<DType>(value);
}

void require_not_negative(const char* name, int64_t value) {
  if (value < 0) fail(NC_INVALID_ARGUMENT, "%s: %" PRId64 ", expected at least 0", name, value);
}

void require_sizes(int64_t rows, int64_t columns) {
  require_not_negative("rows", rows);
  require_not_negative("columns", columns);
}

// A matrix of elements, at any alignment. The address may be 0 if the matrix is empty.
Tensor elements(const char* name, int64_t address, int64_t rows, int64_t columns, int64_t stride, DType dtype,
                const char* why) {
  if (address != 0 && stride < columns) {
    fail(NC_INVALID_ARGUMENT, "%s: row stride %" PRId64 ", expected at least the %" PRId64 " columns", name, stride,
         columns);
  }
  const Tensor t = matrix(name, address, rows, columns, stride, bytes_of(dtype));
  if (rows > 0 && columns > 0) require_present(t, why);
  return t;
}

// One E8M0 code for each block of a row.
Tensor block_scales(int64_t address, int64_t rows, int64_t columns) {
  const int64_t blocks = ceil_div(columns, kScaleBlock);
  return matrix("scale_inv", address, rows, blocks, blocks, 1);
}

// x, q and the format of a call that quantises.
struct Quantized {
  Fp8QuantizeArguments arguments;
  Tensor x, q;
};
Quantized quantized(const Fp8QuantizeCall& call, Scaling scaling) {
  Quantized z{};
  Fp8QuantizeArguments& a = z.arguments;
  a.x = wide_dtype("x_dtype", call.x_dtype);
  a.format = fp8_format(call.format);
  a.scaling = scaling;
  require_sizes(call.rows, call.columns);
  z.x = elements("x", call.x, call.rows, call.columns, call.x_stride, a.x, "it is the input");
  z.q = elements("q", call.q, call.rows, call.columns, call.q_stride, a.format, "it is the output");
  require_apart(z.q, z.x);
  a.rows = call.rows;
  a.columns = call.columns;
  a.from = pointer(z.x);
  a.from_stride = z.x.stride_bytes;
  a.to = pointer(z.q);
  a.to_stride = z.q.stride_bytes;
  return z;
}

}  // namespace

CheckedAmax checked_fp8_amax(const Fp8AmaxCall& call) {
  const DType dtype = wide_dtype("x_dtype", call.x_dtype);
  require_sizes(call.rows, call.columns);
  const Tensor x = elements("x", call.x, call.rows, call.columns, call.x_stride, dtype, "it is the input");
  const Tensor amax = floats("amax", call.amax, 1);
  require_present(amax, "it is the output");
  require_apart(amax, x);
  return {{dtype, call.rows, call.columns, pointer(x), x.stride_bytes, pointer(amax)}, {x, amax}};
}

CheckedScale checked_fp8_scale(const Fp8ScaleCall& call) {
  const DType format = fp8_format(call.format);
  require_range("margin", call.margin, NC_MAX_MARGIN);
  require_range("power_of_two", call.power_of_two, 1);
  require_not_negative("count", call.count);
  const Tensor amax = floats("amax", call.amax, call.count);
  const Tensor scale = floats("scale", call.scale, call.count);
  const Tensor scale_inv = floats("scale_inv", call.scale_inv, call.count);
  if (call.count > 0) {
    require_present(amax, "it is the input");
    if (!scale.present()) require_present(scale_inv, "scale is 0 too, and one of them is required");
  }
  require_apart(scale, amax);
  require_apart(scale_inv, amax);
  require_apart(scale_inv, scale);
  return {{format, call.margin, call.power_of_two != 0, call.count, pointer(amax), pointer(scale), pointer(scale_inv)},
          {amax, scale, scale_inv}};
}

CheckedQuantize checked_fp8_quantize(const Fp8QuantizeCall& call, int64_t scale_address, int64_t amax_address) {
  Quantized z = quantized(call, Scaling::tensor);
  const Tensor scale = floats("scale", scale_address, 1);
  const Tensor amax = floats("amax", amax_address, 1);
  require_present(scale, "x is multiplied by it");
  require_apart(z.q, scale);
  require_apart(amax, z.x);
  require_apart(amax, z.q);
  require_apart(amax, scale);
  z.arguments.scale = pointer(scale);
  z.arguments.amax = pointer(amax);
  return {z.arguments, {z.x, z.q, scale, amax}};
}

CheckedQuantize checked_fp8_quantize_blocks(const Fp8QuantizeCall& call, int64_t scale_inv_address) {
  Quantized z = quantized(call, Scaling::block);
  const Tensor scale_inv = block_scales(scale_inv_address, call.rows, call.columns);
  if (call.rows > 0 && call.columns > 0) require_present(scale_inv, "the block scales are written to it");
  require_apart(scale_inv, z.x);
  require_apart(scale_inv, z.q);
  z.arguments.block_scales = pointer(scale_inv);
  return {z.arguments, {z.x, z.q, scale_inv, Tensor{}}};
}

CheckedDequantize checked_fp8_dequantize(const Fp8DequantizeCall& call) {
  if (call.scaling < NC_SCALING_TENSOR || call.scaling > NC_SCALING_BLOCK) {
    fail(NC_INVALID_ARGUMENT, "scaling: %d, expected %d (tensor), %d (row) or %d (block)", call.scaling,
         NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK);
  }
  const Scaling scaling = static_cast<Scaling>(call.scaling);
  const DType format = fp8_format(call.format);
  const DType dtype = wide_dtype("y_dtype", call.y_dtype);
  require_sizes(call.rows, call.columns);
  const Tensor q = elements("q", call.q, call.rows, call.columns, call.q_stride, format, "it is the input");
  const Tensor y = elements("y", call.y, call.rows, call.columns, call.y_stride, dtype, "it is the output");
  const Tensor scale_inv = scaling == Scaling::block
                               ? block_scales(call.scale_inv, call.rows, call.columns)
                               : floats("scale_inv", call.scale_inv, scaling == Scaling::row ? call.rows : 1);
  if (scaling == Scaling::tensor || (call.rows > 0 && call.columns > 0)) {
    require_present(scale_inv, "q is multiplied by it");
  }
  require_apart(y, q);
  require_apart(y, scale_inv);
  return {{format, dtype, scaling, call.rows, call.columns, pointer(q), q.stride_bytes, pointer(scale_inv), pointer(y),
           y.stride_bytes},
          {q, scale_inv, y}};
}

}  // namespace nc
