// The norm calls that compute on the CPU, in the calling thread.
#include "../core/reduction_order.h"
#include "../cpu/caches.h"
#include "norm_arguments.h"
#include "plan.h"

namespace nc {
namespace {

uint64_t bytes_in(const Tensor& t) { return t.present() ? static_cast<uint64_t>(t.rows * t.row_bytes) : 0; }
uint64_t cache() { return static_cast<uint64_t>(last_level_cache()); }

// Whether the inputs are probably not cached. Prefetch pays off only then: for a cached input it costs more than it
// saves. The threshold is a quarter of the cache, because there are two or three such tensors and other cores share it.
bool beyond_cache(const Tensor& input) { return bytes_in(input) >= cache() / 4; }

// Whether to use non-temporal stores for an output: it would be evicted before anything reads it, and ordinary stores
// read each line first. The threshold is half of the last-level cache, because the input needs the other half.
bool non_temporal(const Tensor& output) {
  return output.present() && bytes_in(output) >= cache() / 2 && output.address % kNonTemporalAlignment == 0 &&
         (output.rows <= 1 || output.stride_bytes % kNonTemporalAlignment == 0);
}

void forward(const CpuKernels& kernels, const NormSpec& spec, Forward& f, int64_t row_begin, int64_t row_end) {
  require_within("row range", row_begin, row_end, f.arguments.row_end);
  f.arguments.prefetch = beyond_cache(f.x());
  f.arguments.non_temporal = spec.scaling == Scaling::none && non_temporal(f.y());
  f.arguments.row_begin = row_begin;
  f.arguments.row_end = row_end;
  if (row_begin < row_end) kernels.forward(spec, f.arguments);
}

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_norm_forward(int64_t plan, int64_t rows, int64_t row_begin, int64_t row_end, int64_t x, int64_t x_stride,
                        int64_t residual, int64_t residual_stride, int64_t weight, int64_t bias, int64_t y,
                        int64_t y_stride, int64_t residual_out, int64_t residual_out_stride, int64_t mean,
                        int64_t rstd) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::NormSpec& spec = nc::plan_of(plan).spec;
    const nc::CpuKernels& kernels = nc::cpu_kernels_of(plan, "nc_cuda_norm_forward");
    nc::Forward f(spec, {rows, x, x_stride, residual, residual_stride, weight, bias, y, y_stride, residual_out,
                         residual_out_stride, mean, rstd});
    nc::forward(kernels, spec, f, row_begin, row_end);
  });
}

int32_t nc_norm_forward_fp8(int64_t plan, int64_t rows, int64_t row_begin, int64_t row_end, int64_t x, int64_t x_stride,
                            int64_t residual, int64_t residual_stride, int64_t weight, int64_t bias, int64_t y,
                            int64_t y_stride, int64_t y_scale, int64_t y_amax, int64_t y_scale_inv,
                            int64_t residual_out, int64_t residual_out_stride, int64_t mean, int64_t rstd) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::NormSpec& spec = nc::plan_of(plan).spec;
    const nc::CpuKernels& kernels = nc::cpu_kernels_of(plan, "nc_cuda_norm_forward_fp8");
    nc::Forward f(spec,
                  {rows, x, x_stride, residual, residual_stride, weight, bias, y, y_stride, residual_out,
                   residual_out_stride, mean, rstd},
                  {y_scale, y_amax, y_scale_inv});
    nc::forward(kernels, spec, f, row_begin, row_end);
  });
}

int32_t nc_norm_backward_groups(int64_t plan, int64_t rows, int64_t* groups) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_rows(rows);
    if (groups == nullptr) nc::fail(NC_INVALID_ARGUMENT, "groups: null, expected an address");
    *groups = nc::groups(rows, nc::plan_of(plan).spec.hidden_size);
  });
}

int32_t nc_norm_backward_workspace(int64_t plan, int64_t rows, int32_t wants_dweight, int32_t wants_dbias,
                                   int64_t* bytes) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::NormSpec& spec = nc::plan_of(plan).spec;
    nc::require_rows(rows);
    nc::require_wants(spec, wants_dweight, wants_dbias);
    if (bytes == nullptr) nc::fail(NC_INVALID_ARGUMENT, "bytes: null, expected an address");
    *bytes = nc::workspace_bytes_of(spec, rows, wants_dweight != 0, wants_dbias != 0);
  });
}

int32_t nc_norm_backward(int64_t plan, int64_t rows, int64_t group_begin, int64_t group_end, int64_t x,
                         int64_t x_stride, int64_t weight, int64_t dy, int64_t dy_stride, int64_t mean, int64_t rstd,
                         int64_t dresidual, int64_t dresidual_stride, int64_t dx, int64_t dx_stride, int64_t workspace,
                         int64_t workspace_bytes, int32_t wants_dweight, int32_t wants_dbias) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::NormSpec& spec = nc::plan_of(plan).spec;
    const nc::CpuKernels& kernels = nc::cpu_kernels_of(plan, "nc_cuda_norm_backward");
    nc::require_wants(spec, wants_dweight, wants_dbias);
    nc::Backward b(spec, {rows, x, x_stride, weight, dy, dy_stride, mean, rstd, dresidual, dresidual_stride, dx,
                          dx_stride, workspace, workspace_bytes, wants_dweight != 0, wants_dbias != 0});
    nc::require_within("group range", group_begin, group_end, nc::groups(rows, spec.hidden_size));
    b.arguments.prefetch = nc::beyond_cache(b.x());
    b.arguments.non_temporal = nc::non_temporal(b.dx());
    b.arguments.group_begin = group_begin;
    b.arguments.group_end = group_end;
    if (group_begin < group_end) kernels.backward(spec, b.arguments);
  });
}

int32_t nc_norm_backward_columns(int64_t plan, int64_t rows, int64_t column_begin, int64_t column_end,
                                 int64_t workspace, int64_t workspace_bytes, int64_t dweight, int32_t dweight_dtype,
                                 int32_t dweight_mode, int64_t dbias, int32_t dbias_dtype,
                                 int32_t dbias_mode) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::NormSpec& spec = nc::plan_of(plan).spec;
    const nc::CpuKernels& kernels = nc::cpu_kernels_of(plan, "nc_cuda_norm_backward");
    nc::Columns c(
        spec,
        {rows, workspace, workspace_bytes, {dweight, dweight_dtype, dweight_mode}, {dbias, dbias_dtype, dbias_mode}});
    nc::require_within("column range", column_begin, column_end, spec.hidden_size);
    for (int32_t i = 0; i < c.count && column_begin < column_end; ++i) {
      c.gradients[i].column_begin = column_begin;
      c.gradients[i].column_end = column_end;
      kernels.columns(spec, c.gradients[i]);
    }
  });
}

}  // extern "C"
