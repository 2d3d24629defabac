// The C calls that compute: every argument is checked before a kernel runs.
#include <cinttypes>
#include <initializer_list>

#include "../core/reduction_order.h"
#include "plan.h"
#include "tensor.h"

namespace nc {
namespace {

const char kPlanHas[] = "the plan has it";
const char kPlanHasNot[] = "the plan has none";

template <class T>
T* pointer(int64_t address) {
  return reinterpret_cast<T*>(address);
}

void require_rows(int64_t rows) {
  if (rows < 0) fail(NC_INVALID_ARGUMENT, "rows: %" PRId64 ", expected at least 0", rows);
}

void require_affine(const Tensor& t, bool has) {
  if (has) {
    require_present(t, kPlanHas);
  } else {
    require_absent(t, kPlanHasNot);
  }
}

// The width of a plan's tensors.
struct Widths {
  int64_t x, weight, y, compute;
  explicit Widths(const NormSpec& spec)
      : x(bytes_of(spec.x)),
        weight(bytes_of(spec.weight)),
        y(bytes_of(spec.y)),
        compute(bytes_of_compute(spec.compute)) {}
};

// The bytes of one gradient's shares, rounded up so that what follows is aligned.
int64_t part_bytes(const NormSpec& spec, int64_t rows) {
  const int64_t n = spec.hidden_size;
  return ceil_div(groups(rows, n) * row_lanes(n) * n * bytes_of_compute(spec.compute), 64) * 64;
}

int64_t workspace_bytes_of(const NormSpec& spec, int64_t rows, bool dweight, bool dbias) {
  return part_bytes(spec, rows) * ((dweight ? 1 : 0) + (dbias ? 1 : 0));
}

void require_flag(const char* name, int32_t value) {
  if (value != 0 && value != 1) fail(NC_INVALID_ARGUMENT, "%s: %d, expected 0 or 1", name, value);
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

void forward(const Plan& plan, int64_t rows, ForwardArguments& a) {
  const NormSpec& spec = plan.spec;
  const int64_t n = spec.hidden_size;
  const Widths widths(spec);
  require_rows(rows);
  require_within("row range", a.row_begin, a.row_end, rows);
  const auto at = [](const void* p) { return reinterpret_cast<int64_t>(p); };
  const Tensor x = matrix("x", at(a.x), rows, n, a.x_stride, widths.x);
  const Tensor residual = matrix("residual", at(a.residual), rows, n, a.residual_stride, widths.x);
  const Tensor weight = vector("weight", at(a.weight), n, widths.weight);
  const Tensor bias = vector("bias", at(a.bias), n, widths.weight);
  const Tensor y = matrix("y", at(a.y), rows, n, a.y_stride, widths.y);
  const Tensor residual_out = matrix("residual_out", at(a.residual_out), rows, n, a.residual_out_stride, widths.x);
  const Tensor mean = vector("mean", at(a.mean), rows, widths.compute);
  const Tensor rstd = vector("rstd", at(a.rstd), rows, widths.compute);
  require_affine(weight, spec.has_weight);
  require_affine(bias, spec.has_bias);
  if (rows > 0) {
    require_present(x, "it is what is normalised");
    require_present(y, "it is where the result goes");
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
  const Tensor* const inputs[] = {&x, &residual};
  const Tensor* const vectors[] = {&weight, &bias, &mean, &rstd};
  for (const Tensor* input : inputs) {
    require_apart_or_in_place(y, *input);
    require_apart_or_in_place(residual_out, *input);
    require_apart(mean, *input);
    require_apart(rstd, *input);
  }
  for (const Tensor* v : vectors) {
    require_apart(y, *v);
    require_apart(residual_out, *v);
  }
  require_apart(residual_out, y);
  require_apart(mean, rstd);
  for (const Tensor* v : {&weight, &bias}) {
    require_apart(mean, *v);
    require_apart(rstd, *v);
  }
  a.x_stride = x.stride_bytes;
  a.residual_stride = residual.stride_bytes;
  a.y_stride = y.stride_bytes;
  a.residual_out_stride = residual_out.stride_bytes;
  if (a.row_begin < a.row_end) plan.kernels->forward(spec, a);
}

void backward(const Plan& plan, BackwardArguments& a, int64_t workspace_address, int64_t workspace_bytes,
              int32_t wants_dweight, int32_t wants_dbias) {
  const NormSpec& spec = plan.spec;
  const int64_t n = spec.hidden_size;
  const int64_t rows = a.rows;
  const Widths widths(spec);
  require_rows(rows);
  require_within("group range", a.group_begin, a.group_end, groups(rows, n));
  require_wants(spec, wants_dweight, wants_dbias);
  const auto at = [](const void* p) { return reinterpret_cast<int64_t>(p); };
  const int64_t needed = workspace_bytes_of(spec, rows, wants_dweight != 0, wants_dbias != 0);
  const Tensor x = matrix("x", at(a.x), rows, n, a.x_stride, widths.x);
  const Tensor weight = vector("weight", at(a.weight), n, widths.weight);
  const Tensor dy = matrix("dy", at(a.dy), rows, n, a.dy_stride, widths.y);
  const Tensor mean = vector("mean", at(a.mean), rows, widths.compute);
  const Tensor rstd = vector("rstd", at(a.rstd), rows, widths.compute);
  const Tensor dresidual = matrix("dresidual", at(a.dresidual), rows, n, a.dresidual_stride, widths.x);
  const Tensor dx = matrix("dx", at(a.dx), rows, n, a.dx_stride, widths.x);
  const Tensor workspace = vector("workspace", needed == 0 ? 0 : workspace_address, needed, 1);
  require_affine(weight, spec.has_weight);
  if (spec.op == Op::rms_norm) require_absent(mean, "RMSNorm has no mean");
  if (rows > 0) {
    require_present(x, "it is what was normalised");
    require_present(dy, "it is the gradient to propagate");
    require_present(rstd, "the backward needs what the forward saved");
    if (spec.op == Op::layer_norm) require_present(mean, "the backward needs what the forward saved");
  }
  if (dresidual.present() && !dx.present() && rows > 0) {
    fail(NC_INVALID_ARGUMENT, "dresidual: given, but dx, to which it is added, is left out");
  }
  require_workspace(workspace, workspace_bytes, needed);
  for (const Tensor* input : {&x, &dy, &dresidual}) {
    require_apart_or_in_place(dx, *input);
    require_apart(workspace, *input);
  }
  for (const Tensor* v : {&weight, &mean, &rstd}) {
    require_apart(dx, *v);
    require_apart(workspace, *v);
  }
  require_apart(dx, workspace);
  a.x_stride = x.stride_bytes;
  a.dy_stride = dy.stride_bytes;
  a.dresidual_stride = dresidual.stride_bytes;
  a.dx_stride = dx.stride_bytes;
  char* parts = pointer<char>(workspace.address);
  a.dweight_parts = wants_dweight != 0 ? parts : nullptr;
  a.dbias_parts = wants_dbias == 0 ? nullptr : wants_dweight != 0 ? parts + part_bytes(spec, rows) : parts;
  if (a.group_begin < a.group_end) plan.kernels->backward(spec, a);
}

struct WeightGradient {
  const char* name;
  int64_t address;
  int32_t dtype;
  int32_t mode;

  bool wanted() const { return mode != NC_GRADIENT_ABSENT; }

  Tensor tensor(int64_t n) const {
    return vector(name, wanted() ? address : 0, n, bytes_of(static_cast<DType>(dtype)));
  }

  void require_valid(const NormSpec& spec, bool has) const {
    if (mode < NC_GRADIENT_ABSENT || mode > NC_GRADIENT_ACCUMULATE) {
      fail(NC_INVALID_ARGUMENT, "%s: mode %d, expected 0 (absent), 1 (write) or 2 (accumulate)", name, mode);
    }
    if (!wanted()) return;
    if (!has) fail(NC_INVALID_ARGUMENT, "%s: wanted, but the plan has no such parameter", name);
    if (address == 0) fail(NC_INVALID_ARGUMENT, "%s: address 0, but its mode asks for it", name);
    if (dtype != NC_FLOAT32 && (mode == NC_GRADIENT_ACCUMULATE || dtype != static_cast<int32_t>(spec.weight))) {
      fail(NC_INVALID_ARGUMENT, "%s: dtype %d, expected %s", name, dtype,
           mode == NC_GRADIENT_ACCUMULATE ? "float32 (1) to accumulate" : "the plan's weight dtype or float32 (1)");
    }
  }
};

void columns(const Plan& plan, ColumnArguments a, int64_t workspace_address, int64_t workspace_bytes,
             const WeightGradient& dweight, const WeightGradient& dbias) {
  const NormSpec& spec = plan.spec;
  const int64_t n = spec.hidden_size;
  require_rows(a.rows);
  require_within("column range", a.column_begin, a.column_end, n);
  dweight.require_valid(spec, spec.has_weight);
  dbias.require_valid(spec, spec.has_bias);
  const int64_t needed = workspace_bytes_of(spec, a.rows, dweight.wanted(), dbias.wanted());
  const Tensor workspace = vector("workspace", needed == 0 ? 0 : workspace_address, needed, 1);
  require_workspace(workspace, workspace_bytes, needed);
  require_apart(dweight.tensor(n), workspace);
  require_apart(dbias.tensor(n), workspace);
  require_apart(dweight.tensor(n), dbias.tensor(n));
  char* parts = pointer<char>(workspace.address);
  for (const WeightGradient* gradient : {&dweight, &dbias}) {
    if (!gradient->wanted()) continue;
    a.parts = parts;
    a.gradient = pointer<char>(gradient->address);
    a.dtype = static_cast<DType>(gradient->dtype);
    a.accumulate = gradient->mode == NC_GRADIENT_ACCUMULATE;
    if (a.column_begin < a.column_end) plan.kernels->columns(spec, a);
    if (parts != nullptr) parts += part_bytes(spec, a.rows);
  }
}

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_norm_forward(int64_t plan, int64_t rows, int64_t row_begin, int64_t row_end, int64_t x, int64_t x_stride,
                        int64_t residual, int64_t residual_stride, int64_t weight, int64_t bias, int64_t y,
                        int64_t y_stride, int64_t residual_out, int64_t residual_out_stride, int64_t mean,
                        int64_t rstd) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::ForwardArguments a{};
    a.row_begin = row_begin;
    a.row_end = row_end;
    a.x = nc::pointer<const char>(x);
    a.x_stride = x_stride;
    a.residual = nc::pointer<const char>(residual);
    a.residual_stride = residual_stride;
    a.weight = nc::pointer<const char>(weight);
    a.bias = nc::pointer<const char>(bias);
    a.y = nc::pointer<char>(y);
    a.y_stride = y_stride;
    a.residual_out = nc::pointer<char>(residual_out);
    a.residual_out_stride = residual_out_stride;
    a.mean = nc::pointer<char>(mean);
    a.rstd = nc::pointer<char>(rstd);
    nc::forward(nc::plan_of(plan), rows, a);
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
    nc::BackwardArguments a{};
    a.rows = rows;
    a.group_begin = group_begin;
    a.group_end = group_end;
    a.x = nc::pointer<const char>(x);
    a.x_stride = x_stride;
    a.weight = nc::pointer<const char>(weight);
    a.dy = nc::pointer<const char>(dy);
    a.dy_stride = dy_stride;
    a.mean = nc::pointer<const char>(mean);
    a.rstd = nc::pointer<const char>(rstd);
    a.dresidual = nc::pointer<const char>(dresidual);
    a.dresidual_stride = dresidual_stride;
    a.dx = nc::pointer<char>(dx);
    a.dx_stride = dx_stride;
    nc::backward(nc::plan_of(plan), a, workspace, workspace_bytes, wants_dweight, wants_dbias);
  });
}

int32_t nc_norm_backward_columns(int64_t plan, int64_t rows, int64_t column_begin, int64_t column_end,
                                 int64_t workspace, int64_t workspace_bytes, int64_t dweight, int32_t dweight_dtype,
                                 int32_t dweight_mode, int64_t dbias, int32_t dbias_dtype,
                                 int32_t dbias_mode) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::ColumnArguments a{};
    a.rows = rows;
    a.column_begin = column_begin;
    a.column_end = column_end;
    nc::columns(nc::plan_of(plan), a, workspace, workspace_bytes, {"dweight", dweight, dweight_dtype, dweight_mode},
                {"dbias", dbias, dbias_dtype, dbias_mode});
  });
}

}  // extern "C"
