#include "norm_arguments.h"

#include <cinttypes>
#include <utility>

#include "../core/fp8_scale.h"
#include "../core/workspace.h"
#include "plan.h"

namespace nc {
namespace {

const char kPlanHas[] = "the plan has one";
const char kPlanHasNot[] = "the plan has none";

void require_affine(const Tensor& t, bool has) {
  if (has) {
    require_present(t, kPlanHas);
  } else {
    require_absent(t, kPlanHasNot);
  }
}

// Element sizes of a plan's tensors.
struct Widths {
  int64_t x, weight, y, compute;
  explicit Widths(const NormSpec& spec)
      : x(bytes_of(spec.x)),
        weight(bytes_of(spec.weight)),
        y(bytes_of(spec.y)),
        compute(bytes_of_compute(spec.compute)) {}
};

int64_t gradient_workspace_bytes_of(const NormSpec& spec, int64_t rows) {
  return gradient_workspace_bytes(rows, spec.hidden_size, bytes_of_compute(spec.compute));
}

void require_flag(const char* name, int32_t value) {
  if (value != 0 && value != 1) fail(NC_INVALID_ARGUMENT, "%s: %d, expected 0 or 1", name, value);
}

void require_workspace(const Tensor& workspace, int64_t given, int64_t needed) {
  if (needed == 0) return;
  require_present(workspace, "dweight or dbias needs a workspace");
  if (workspace.address % 8 != 0) {
    fail(NC_INVALID_ARGUMENT, "workspace: address %" PRIx64 ", expected a multiple of 8",
         static_cast<uint64_t>(workspace.address));
  }
  if (given < needed) {
    fail(NC_INVALID_ARGUMENT, "workspace_bytes: %" PRId64 ", expected at least %" PRId64, given, needed);
  }
}

void require_scaling(Scaling scaling, int64_t rows, const Tensor& y_scale, const Tensor& y_amax,
                     const Tensor& y_scale_inv) {
  if (scaling == Scaling::tensor) {
    require_present(y_scale, "y has one scale");
    require_absent(y_scale_inv, "y has one scale, y_scale");
  } else {
    const char* const why = "every row or block of y has a scale of its own";
    require_absent(y_scale, why);
    require_absent(y_amax, why);
    if (rows > 0 && scaling != Scaling::none) require_present(y_scale_inv, why);
  }
}

bool is_wanted(const GradientCall& gradient) { return gradient.mode != NC_GRADIENT_ABSENT; }

Tensor gradient_tensor(const char* name, const GradientCall& gradient, const NormSpec& spec, bool has) {
  if (gradient.mode < NC_GRADIENT_ABSENT || gradient.mode > NC_GRADIENT_ACCUMULATE) {
    fail(NC_INVALID_ARGUMENT, "%s: mode %d, expected 0 (absent), 1 (write) or 2 (accumulate)", name, gradient.mode);
  }
  if (!is_wanted(gradient)) return vector(name, 0, spec.hidden_size, 1);
  if (!has) fail(NC_INVALID_ARGUMENT, "%s: requested, but the plan has no such parameter", name);
  if (gradient.address == 0) fail(NC_INVALID_ARGUMENT, "%s: address 0, but its mode requests it", name);
  const bool accumulates = gradient.mode == NC_GRADIENT_ACCUMULATE;
  if (gradient.dtype != NC_FLOAT32 && (accumulates || gradient.dtype != static_cast<int32_t>(spec.weight))) {
    fail(NC_INVALID_ARGUMENT, "%s: dtype %d, expected %s", name, gradient.dtype,
         accumulates ? "float32 (1) to accumulate" : "the plan's weight dtype or float32 (1)");
  }
  return vector(name, gradient.address, spec.hidden_size, bytes_of(static_cast<DType>(gradient.dtype)));
}

}  // namespace

void require_rows(int64_t rows) {
  if (rows < 0) fail(NC_INVALID_ARGUMENT, "rows: %" PRId64 ", expected at least 0", rows);
}

void require_wants(const NormSpec& spec, int32_t wants_dweight, int32_t wants_dbias) {
  require_flag("wants_dweight", wants_dweight);
  require_flag("wants_dbias", wants_dbias);
  if (wants_dweight != 0 && !spec.has_weight) {
    fail(NC_INVALID_ARGUMENT, "wants_dweight: 1, expected 0: the plan has no weight");
  }
  if (wants_dbias != 0 && !spec.has_bias) {
    fail(NC_INVALID_ARGUMENT, "wants_dbias: 1, expected 0: the plan has no bias");
  }
}

int64_t workspace_bytes_of(const NormSpec& spec, int64_t rows, bool dweight, bool dbias) {
  return gradient_workspace_bytes_of(spec, rows) * ((dweight ? 1 : 0) + (dbias ? 1 : 0));
}

void Forward::check(const NormSpec& spec, const ForwardCall& call, const Fp8Call& fp8) {
  const int64_t n = spec.hidden_size;
  const int64_t rows = call.rows;
  const Widths widths(spec);
  const bool quantized = spec.scaling != Scaling::none;
  require_rows(rows);
  auto& [x, residual, weight, bias, y, residual_out, mean, rstd, y_scale, y_amax, y_scale_inv] = tensors;
  x = matrix("x", call.x, rows, n, call.x_stride, widths.x);
  residual = matrix("residual", call.residual, rows, n, call.residual_stride, widths.x);
  weight = vector("weight", call.weight, n, widths.weight);
  bias = vector("bias", call.bias, n, widths.weight);
  y = matrix("y", call.y, rows, n, call.y_stride, quantized ? 1 : widths.y);
  residual_out = matrix("residual_out", call.residual_out, rows, n, call.residual_out_stride, widths.x);
  mean = vector("mean", call.mean, rows, widths.compute);
  rstd = vector("rstd", call.rstd, rows, widths.compute);
  if (quantized) {
    y_scale = floats("y_scale", fp8.y_scale, 1);
    y_amax = floats("y_amax", fp8.y_amax, 1);
    y_scale_inv = spec.scaling == Scaling::block
                      ? vector("y_scale_inv", fp8.y_scale_inv, rows * ceil_div(n, kScaleBlock), 1)
                      : floats("y_scale_inv", fp8.y_scale_inv, rows);
  } else {
    y_scale = y_amax = y_scale_inv = vector("", 0, 0, 1);
  }
  require_affine(weight, spec.has_weight);
  require_affine(bias, spec.has_bias);
  if (rows > 0) {
    require_present(x, "it is the input");
    require_present(y, "it is the output");
  }
  if (residual.present()) {
    require_present(residual_out, "the residual sum is stored there");
  } else {
    require_absent(residual_out, "there is no residual");
  }
  if (spec.op == Op::rms_norm) {
    require_absent(mean, "RMSNorm has no mean");
  } else if (mean.present() != rstd.present()) {
    fail(NC_INVALID_ARGUMENT, "%s: address 0, expected both mean and rstd for training, or neither for inference",
         mean.present() ? "rstd" : "mean");
  }
  for (const Tensor* input : {&x, &residual}) {
    require_apart_or_in_place(y, *input);
    require_apart_or_in_place(residual_out, *input);
    require_apart(mean, *input);
    require_apart(rstd, *input);
  }
  for (const Tensor* v : {&weight, &bias, &mean, &rstd}) {
    require_apart(y, *v);
    require_apart(residual_out, *v);
  }
  require_apart(residual_out, y);
  require_apart(mean, rstd);
  for (const Tensor* v : {&weight, &bias}) {
    require_apart(mean, *v);
    require_apart(rstd, *v);
  }
  if (quantized) require_scaling(spec.scaling, rows, y_scale, y_amax, y_scale_inv);
  for (const Tensor* v : {&y_scale, &y_amax, &y_scale_inv}) {
    if (!v->present()) continue;
    for (const Tensor* tensor : {&x, &residual, &weight, &bias}) {
      if (v != &y_scale) require_apart(*v, *tensor);
    }
    for (const Tensor* output : {&y, &residual_out, &mean, &rstd}) require_apart(*output, *v);
  }
  require_apart(y_amax, y_scale);
  ForwardArguments& a = arguments;
  a.row_end = rows;
  a.x = pointer(x);
  a.x_stride = x.stride_bytes;
  a.residual = pointer(residual);
  a.residual_stride = residual.stride_bytes;
  a.weight = pointer(weight);
  a.bias = pointer(bias);
  a.y = pointer(y);
  a.y_stride = y.stride_bytes;
  a.residual_out = pointer(residual_out);
  a.residual_out_stride = residual_out.stride_bytes;
  a.mean = pointer(mean);
  a.rstd = pointer(rstd);
  a.y_scale = pointer(y_scale);
  a.y_amax = pointer(y_amax);
  a.y_scale_inv = pointer(y_scale_inv);
}

Forward::Forward(const NormSpec& spec, const ForwardCall& call) {
  if (spec.scaling != Scaling::none) {
    fail(NC_INVALID_ARGUMENT,
         "plan: its y is %s, expected a type other than FP8: call the function with _fp8 in its name",
         name_of(spec.quantized));
  }
  check(spec, call, {});
}

Forward::Forward(const NormSpec& spec, const ForwardCall& call, const Fp8Call& fp8) {
  if (spec.scaling == Scaling::none) {
    fail(NC_INVALID_ARGUMENT, "plan: its y is %s, expected an FP8 format", name_of(spec.y));
  }
  check(spec, call, fp8);
}

Backward::Backward(const NormSpec& spec, const BackwardCall& call) {
  const int64_t n = spec.hidden_size;
  const int64_t rows = call.rows;
  const Widths widths(spec);
  require_rows(rows);
  const int64_t needed = workspace_bytes_of(spec, rows, call.wants_dweight, call.wants_dbias);
  auto& [x, weight, dy, mean, rstd, dresidual, dx, workspace] = tensors;
  x = matrix("x", call.x, rows, n, call.x_stride, widths.x);
  weight = vector("weight", call.weight, n, widths.weight);
  dy = matrix("dy", call.dy, rows, n, call.dy_stride, widths.y);
  mean = vector("mean", call.mean, rows, widths.compute);
  rstd = vector("rstd", call.rstd, rows, widths.compute);
  dresidual = matrix("dresidual", call.dresidual, rows, n, call.dresidual_stride, widths.x);
  dx = matrix("dx", call.dx, rows, n, call.dx_stride, widths.x);
  workspace = vector("workspace", needed == 0 ? 0 : call.workspace, needed, 1);
  require_affine(weight, spec.has_weight);
  if (spec.op == Op::rms_norm) require_absent(mean, "RMSNorm has no mean");
  if (rows > 0) {
    require_present(x, "it is the input of the forward");
    require_present(dy, "it is the gradient to propagate");
    require_present(rstd, "the backward needs what the forward saved");
    if (spec.op == Op::layer_norm) require_present(mean, "the backward needs what the forward saved");
  }
  if (dresidual.present() && !dx.present() && rows > 0) {
    fail(NC_INVALID_ARGUMENT, "dresidual: given, but dx, to which it is added, is absent");
  }
  require_workspace(workspace, call.workspace_bytes, needed);
  for (const Tensor* input : {&x, &dy, &dresidual}) {
    require_apart_or_in_place(dx, *input);
    require_apart(workspace, *input);
  }
  for (const Tensor* v : {&weight, &mean, &rstd}) {
    require_apart(dx, *v);
    require_apart(workspace, *v);
  }
  require_apart(dx, workspace);
  BackwardArguments& a = arguments;
  a.rows = rows;
  a.group_end = groups(rows, n);
  a.x = pointer(x);
  a.x_stride = x.stride_bytes;
  a.weight = pointer(weight);
  a.dy = pointer(dy);
  a.dy_stride = dy.stride_bytes;
  a.mean = pointer(mean);
  a.rstd = pointer(rstd);
  a.dresidual = pointer(dresidual);
  a.dresidual_stride = dresidual.stride_bytes;
  a.dx = pointer(dx);
  a.dx_stride = dx.stride_bytes;
  char* partials = pointer(workspace);
  a.dweight_partials = call.wants_dweight ? partials : nullptr;
  a.dbias_partials = !call.wants_dbias    ? nullptr
                     : call.wants_dweight ? partials + gradient_workspace_bytes_of(spec, rows)
                                          : partials;
}

Columns::Columns(const NormSpec& spec, const ColumnsCall& call) {
  const int64_t n = spec.hidden_size;
  require_rows(call.rows);
  auto& [dweight, dbias] = tensors;
  dweight = gradient_tensor("dweight", call.dweight, spec, spec.has_weight);
  dbias = gradient_tensor("dbias", call.dbias, spec, spec.has_bias);
  const int64_t needed = workspace_bytes_of(spec, call.rows, dweight.present(), dbias.present());
  const Tensor workspace = vector("workspace", needed == 0 ? 0 : call.workspace, needed, 1);
  require_workspace(workspace, call.workspace_bytes, needed);
  require_apart(dweight, workspace);
  require_apart(dbias, workspace);
  require_apart(dweight, dbias);
  char* partials = pointer(workspace);
  for (const auto& [tensor, gradient] : {std::pair(dweight, call.dweight), std::pair(dbias, call.dbias)}) {
    if (!tensor.present()) continue;
    ColumnArguments& a = gradients[count++];
    a.rows = call.rows;
    a.column_end = n;
    a.partials = partials;
    a.gradient = pointer(tensor);
    a.dtype = static_cast<DType>(gradient.dtype);
    a.accumulate = gradient.mode == NC_GRADIENT_ACCUMULATE;
    if (partials != nullptr) partials += gradient_workspace_bytes_of(spec, call.rows);
  }
}

}  // namespace nc
