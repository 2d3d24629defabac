// The norm calls for plans of a CUDA device. They check all arguments before the first launch.
#include <algorithm>
#include <cinttypes>

#include "norm_arguments.h"
#include "plan.h"

namespace nc {
namespace {

template <class Tensors>
void require_all_reachable(const CudaPlan& cuda, const Tensors& tensors) {
  for (const Tensor& tensor : tensors) cuda.require_reachable(tensor);
}

void backward(int64_t handle, const BackwardCall& call, const GradientCall& dweight, const GradientCall& dbias,
              int64_t stream) {
  const NormSpec& spec = plan_of(handle).spec;
  const CudaPlan& cuda = cuda_plan_of(handle, "nc_norm_backward");
  Columns columns(spec, {call.rows, call.workspace, call.workspace_bytes, dweight, dbias});
  const Backward backward(spec, call);
  for (const Tensor& gradient : columns.tensors) {
    for (const Tensor& tensor : backward.tensors) require_apart(gradient, tensor);
  }
  require_all_reachable(cuda, backward.tensors);
  require_all_reachable(cuda, columns.tensors);
  if (call.rows > 0) {
    if (call.dx != 0 || columns.count > 0) cuda.backward(backward.arguments, stream);
    if (columns.count > 0) cuda.columns(columns.gradients, columns.count, stream);
    return;
  }
  // The sum of no rows is 0: written under NC_GRADIENT_WRITE, nothing to add under NC_GRADIENT_ACCUMULATE.
  ColumnArguments* const end = std::remove_if(columns.gradients, columns.gradients + columns.count,
                                              [](const ColumnArguments& gradient) { return gradient.accumulate; });
  const int32_t written = static_cast<int32_t>(end - columns.gradients);
  if (written > 0) cuda.columns(columns.gradients, written, stream);
}

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_cuda_norm_forward(int64_t plan, int64_t rows, int64_t x, int64_t x_stride, int64_t residual,
                             int64_t residual_stride, int64_t weight, int64_t bias, int64_t y, int64_t y_stride,
                             int64_t residual_out, int64_t residual_out_stride, int64_t mean, int64_t rstd,
                             int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::CudaPlan& cuda = nc::cuda_plan_of(plan, "nc_norm_forward");
    const nc::Forward f(nc::plan_of(plan).spec, {rows, x, x_stride, residual, residual_stride, weight, bias, y,
                                                 y_stride, residual_out, residual_out_stride, mean, rstd});
    nc::require_all_reachable(cuda, f.tensors);
    if (rows > 0) cuda.forward(f.arguments, stream);
  });
}

int32_t nc_cuda_norm_forward_fp8(int64_t plan, int64_t rows, int64_t x, int64_t x_stride, int64_t residual,
                                 int64_t residual_stride, int64_t weight, int64_t bias, int64_t y, int64_t y_stride,
                                 int64_t y_scale, int64_t y_amax, int64_t y_scale_inv, int64_t residual_out,
                                 int64_t residual_out_stride, int64_t mean, int64_t rstd, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::CudaPlan& cuda = nc::cuda_plan_of(plan, "nc_norm_forward_fp8");
    const nc::Forward f(nc::plan_of(plan).spec,
                        {rows, x, x_stride, residual, residual_stride, weight, bias, y, y_stride, residual_out,
                         residual_out_stride, mean, rstd},
                        {y_scale, y_amax, y_scale_inv});
    nc::require_all_reachable(cuda, f.tensors);
    if (rows > 0) cuda.forward(f.arguments, stream);
  });
}

int32_t nc_cuda_norm_backward(int64_t plan, int64_t rows, int64_t x, int64_t x_stride, int64_t weight, int64_t dy,
                              int64_t dy_stride, int64_t mean, int64_t rstd, int64_t dresidual,
                              int64_t dresidual_stride, int64_t dx, int64_t dx_stride, int64_t workspace,
                              int64_t workspace_bytes, int64_t dweight, int32_t dweight_dtype, int32_t dweight_mode,
                              int64_t dbias, int32_t dbias_dtype, int32_t dbias_mode, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::backward(plan,
                 {rows, x, x_stride, weight, dy, dy_stride, mean, rstd, dresidual, dresidual_stride, dx, dx_stride,
                  workspace, workspace_bytes, dweight_mode != NC_GRADIENT_ABSENT, dbias_mode != NC_GRADIENT_ABSENT},
                 {dweight, dweight_dtype, dweight_mode}, {dbias, dbias_dtype, dbias_mode}, stream);
  });
}

int32_t nc_cuda_norm_kernels(int64_t plan, int64_t text, int64_t capacity) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (text == 0) nc::fail(NC_INVALID_ARGUMENT, "text: 0, expected the address of %" PRId64 " bytes", capacity);
    if (capacity < 1) nc::fail(NC_INVALID_ARGUMENT, "capacity: %" PRId64 ", expected at least 1", capacity);
    nc::cuda_plan_of(plan, "nc_norm_forward and nc_norm_backward").describe(reinterpret_cast<char*>(text), capacity);
  });
}

}  // extern "C"
