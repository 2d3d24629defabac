// The arguments of the norm calls, as passed by callers, and their validated form for the kernels of every device.
#pragma once

#include <array>

#include "../core/arguments.h"
#include "tensor.h"

namespace nc {

// In the order of the C functions' parameters; strides in elements.
struct ForwardCall {
  int64_t rows, x, x_stride, residual, residual_stride, weight, bias, y, y_stride, residual_out, residual_out_stride,
      mean, rstd;
};

// Further parameters for a quantised y.
struct Fp8Call {
  int64_t y_scale, y_amax, y_scale_inv;
};

struct BackwardCall {
  int64_t rows, x, x_stride, weight, dy, dy_stride, mean, rstd, dresidual, dresidual_stride, dx, dx_stride, workspace,
      workspace_bytes;
  bool wants_dweight, wants_dbias;
};

struct GradientCall {
  int64_t address;
  int32_t dtype;
  int32_t mode;
};

struct ColumnsCall {
  int64_t rows, workspace, workspace_bytes;
  GradientCall dweight, dbias;
};

// Validated calls. The constructors throw Failure if an argument is wrong. The arguments cover all rows, groups or
// columns until the caller narrows the range; the tensors include absent ones. Constructed in place, because a copy is
// measurable in a call of a few microseconds.
struct Forward {
  ForwardArguments arguments{};
  std::array<Tensor, 11> tensors;

  // For a plan whose y is not quantised.
  Forward(const NormSpec& spec, const ForwardCall& call);
  // For a plan whose y is quantised.
  Forward(const NormSpec& spec, const ForwardCall& call, const Fp8Call& fp8);
  const Tensor& x() const { return tensors[0]; }
  const Tensor& y() const { return tensors[4]; }

 private:
  void check(const NormSpec& spec, const ForwardCall& call, const Fp8Call& fp8);
};

struct Backward {
  BackwardArguments arguments{};
  std::array<Tensor, 8> tensors;  // includes the workspace

  Backward(const NormSpec& spec, const BackwardCall& call);
  const Tensor& x() const { return tensors[0]; }
  const Tensor& dy() const { return tensors[2]; }
  const Tensor& dx() const { return tensors[6]; }
};

struct Columns {
  ColumnArguments gradients[2]{};
  int32_t count = 0;              // number of requested gradients
  std::array<Tensor, 2> tensors;  // dweight and dbias

  Columns(const NormSpec& spec, const ColumnsCall& call);
};

void require_rows(int64_t rows);
void require_wants(const NormSpec& spec, int32_t wants_dweight, int32_t wants_dbias);

int64_t workspace_bytes_of(const NormSpec& spec, int64_t rows, bool dweight, bool dbias);

}  // namespace nc
