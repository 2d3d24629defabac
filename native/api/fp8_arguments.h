// The arguments of the FP8 calls, as passed by callers, and their validated form for the kernels of every device.
#pragma once

#include <array>

#include "../core/arguments.h"
#include "tensor.h"

namespace nc {

// In the order of the C functions' parameters; strides in elements.
struct Fp8AmaxCall {
  int64_t x;
  int32_t x_dtype;
  int64_t rows, columns, x_stride, amax;
};

struct Fp8ScaleCall {
  int32_t format, margin, power_of_two;
  int64_t count, amax, scale, scale_inv;
};

struct Fp8QuantizeCall {
  int64_t x;
  int32_t x_dtype;
  int64_t rows, columns, x_stride, q;
  int32_t format;
  int64_t q_stride;
};

struct Fp8DequantizeCall {
  int32_t scaling;
  int64_t q;
  int32_t format;
  int64_t rows, columns, q_stride, scale_inv, y;
  int32_t y_dtype;
  int64_t y_stride;
};

// The arguments of a valid call, and all its tensors, including absent ones.
template <class Arguments, size_t Tensors>
struct CheckedFp8 {
  Arguments arguments;
  std::array<Tensor, Tensors> tensors;
};
using CheckedAmax = CheckedFp8<Fp8AmaxArguments, 2>;
using CheckedScale = CheckedFp8<Fp8ScaleArguments, 3>;
using CheckedQuantize = CheckedFp8<Fp8QuantizeArguments, 4>;
using CheckedDequantize = CheckedFp8<Fp8DequantizeArguments, 3>;

// Validate a call; throw Failure if it is wrong.
CheckedAmax checked_fp8_amax(const Fp8AmaxCall& call);
CheckedScale checked_fp8_scale(const Fp8ScaleCall& call);
CheckedQuantize checked_fp8_quantize(const Fp8QuantizeCall& call, int64_t scale, int64_t amax);
CheckedQuantize checked_fp8_quantize_blocks(const Fp8QuantizeCall& call, int64_t scale_inv);
CheckedDequantize checked_fp8_dequantize(const Fp8DequantizeCall& call);

}  // namespace nc
