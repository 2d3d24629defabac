// The arguments of the norm calls: as callers give them, what can be wrong with them, and as kernels get them. The same
// on every device.
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

// What a quantised y takes more.
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

// Valid calls: of all rows, groups or columns, until the caller narrows them; and every tensor, present or not. They
// refuse what is wrong when they are made, in place: a call of a few microseconds feels a copy of them.
struct Forward {
  ForwardArguments arguments{};
  std::array<Tensor, 11> tensors;

  // Of a plan of a y that is not quantised.
  Forward(const NormSpec& spec, const ForwardCall& call);
  // Of the others.
  Forward(const NormSpec& spec, const ForwardCall& call, const Fp8Call& fp8);
  const Tensor& x() const { return tensors[0]; }
  const Tensor& y() const { return tensors[4]; }

 private:
  void check(const NormSpec& spec, const ForwardCall& call, const Fp8Call& fp8);
};

struct Backward {
  BackwardArguments arguments{};
  std::array<Tensor, 8> tensors;  // the workspace among them

  Backward(const NormSpec& spec, const BackwardCall& call);
  const Tensor& x() const { return tensors[0]; }
  const Tensor& dy() const { return tensors[2]; }
  const Tensor& dx() const { return tensors[6]; }
};

struct Columns {
  ColumnArguments gradients[2]{};
  int32_t count = 0;              // of gradients wanted
  std::array<Tensor, 2> tensors;  // dweight and dbias

  Columns(const NormSpec& spec, const ColumnsCall& call);
};

void require_rows(int64_t rows);
void require_wants(const NormSpec& spec, int32_t wants_dweight, int32_t wants_dbias);

int64_t workspace_bytes_of(const NormSpec& spec, int64_t rows, bool dweight, bool dbias);

}  // namespace nc
