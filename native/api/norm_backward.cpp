// The backward of a norm: row groups, then columns.
#include <algorithm>

#include "norm.h"

namespace nc {
namespace {

using A = nc_norm_backward_args;

enum { kX, kWeight, kDy, kMean, kRstd, kDresidual, kDweight, kDbias, kDx, kWorkspace };

constexpr unsigned kInPlace = 1u << kX | 1u << kDy | 1u << kDresidual;
constexpr char kSaved[] = "the backward needs what the forward saved";
constexpr Operand<A> kOperands[] = {
    {"x", &A::x, &A::x_stride, Extent::matrix, Element::x, "it is the input of the forward"},
    {"weight", &A::weight, nullptr, Extent::columns, Element::weight, nullptr},
    {"dy", &A::dy, &A::dy_stride, Extent::matrix, Element::y, "it is the gradient to propagate"},
    {"mean", &A::mean, nullptr, Extent::rows, Element::compute, nullptr},
    {"rstd", &A::rstd, nullptr, Extent::rows, Element::compute, kSaved},
    {"dresidual", &A::dresidual, &A::dresidual_stride, Extent::matrix, Element::x, nullptr},
    {"dweight", &A::dweight, nullptr, Extent::columns, Element::dweight, nullptr, true},
    {"dbias", &A::dbias, nullptr, Extent::columns, Element::dbias, nullptr, true},
    {"dx", &A::dx, &A::dx_stride, Extent::matrix, Element::x, nullptr, true, kInPlace},
    {"workspace", &A::workspace, nullptr, Extent::workspace, Element::byte, nullptr, true},
};
constexpr size_t kCount = sizeof(kOperands) / sizeof(kOperands[0]);

// dweight or dbias.
struct Gradient {
  const char* name;
  int32_t dtype, mode;
  bool has_parameter;

  bool wanted() const { return mode != NC_GRADIENT_ABSENT; }
  bool accumulates() const { return mode == NC_GRADIENT_ACCUMULATE; }
};

void require_gradient(const Gradient& g, DType weight) {
  if (g.mode < NC_GRADIENT_ABSENT || g.mode > NC_GRADIENT_ACCUMULATE) {
    fail(NC_INVALID_ARGUMENT, "%s: mode %d, expected 0 (absent), 1 (write) or 2 (accumulate)", g.name, g.mode);
  }
  if (!g.wanted()) return;
  if (!g.has_parameter) fail(NC_INVALID_ARGUMENT, "%s: requested, but the plan has no such parameter", g.name);
  if (g.dtype != NC_FLOAT32 && (g.accumulates() || g.dtype != static_cast<int32_t>(weight))) {
    fail(NC_INVALID_ARGUMENT, "%s: dtype %d, expected %s", g.name, g.dtype,
         g.accumulates() ? "float32 (1) to accumulate" : "the plan's weight dtype or float32 (1)");
  }
}

void require_workspace(const Tensor& workspace, int64_t given, int64_t needed) {
  if (needed == 0) return;
  require_present(workspace, "dweight or dbias needs a workspace");
  require_multiple(workspace, 8);
  if (given < needed) {
    fail(NC_INVALID_ARGUMENT, "workspace_bytes: %" PRId64 ", expected at least %" PRId64, given, needed);
  }
}

// The argument of the second step for a gradient; partials: its part of the workspace.
void add_gradient(BackwardCall& call, const Gradient& g, const Tensor& tensor, char* partials, int64_t columns) {
  ColumnArguments& a = call.gradients[call.gradient_count++];
  a.rows = call.rows.rows;
  a.column_end = columns;
  a.partials = partials;
  a.gradient = pointer(tensor);
  a.dtype = static_cast<DType>(g.dtype);
  a.accumulate = g.accumulates();
}

// Sets the partial sums of the first step, and the arguments of the second. bytes: of the partial sums of a gradient.
void set_gradients(const Gradient (&gradients)[2], const Tensors<kCount>& t, int64_t columns, int64_t bytes,
                   BackwardCall& call) {
  char* partials = pointer(t[kWorkspace]);
  char** const of_rows[] = {&call.rows.dweight_partials, &call.rows.dbias_partials};
  for (int i = 0; i < 2; ++i) {
    if (!gradients[i].wanted()) continue;
    *of_rows[i] = partials;
    add_gradient(call, gradients[i], t[kDweight + i], partials, columns);
    if (partials != nullptr) partials += bytes;
  }
}

struct NormBackward {
  using Kind = NormKind;
  using Args = A;
  static constexpr const char* kUnits[2] = {"group range", "column range"};

  static void check(const NormPlan& plan, const Args& args, Call& call) {
    const NormSpec& spec = plan.spec;
    require_reserved(args.reserved);
    Shape shape = shape_of(spec, args.rows);
    const Gradient gradients[] = {{"dweight", args.dweight_dtype, args.dweight_mode, spec.has_weight},
                                  {"dbias", args.dbias_dtype, args.dbias_mode, spec.has_bias}};
    for (const Gradient& g : gradients) require_gradient(g, spec.weight);
    const int64_t wanted = gradients[0].wanted() + gradients[1].wanted();
    const int64_t gradient_bytes = wanted == 0 ? 0 : gradient_workspace_bytes_of(spec, args.rows);
    shape.workspace_bytes = wanted * gradient_bytes;
    for (int i = 0; i < 2; ++i) {
      const Element element = i == 0 ? Element::dweight : Element::dbias;
      shape.set(element, gradients[i].wanted() ? bytes_of(static_cast<DType>(gradients[i].dtype)) : 0);
    }
    Tensors<kCount> t = tensors_of<kOperands>(args, shape);
    for (int i = 0; i < 2; ++i) {
      if (gradients[i].wanted()) {
        require_present(t[kDweight + i], "its mode requests it");
      } else {
        t[kDweight + i] = vector(gradients[i].name, 0, 0, 1);
      }
    }
    require_parameters(spec, args, t);
    require_workspace(t[kWorkspace], args.workspace_bytes, shape.workspace_bytes);
    require_apart(kOperands, t);
    require_reachable(plan, t);
    BackwardCall& backward = call.backward;
    backward = {};
    BackwardArguments& a = backward.rows;
    a.rows = args.rows;
    a.group_end = groups(args.rows, spec.hidden_size);
    a.x = pointer(t[kX]);
    a.x_stride = t[kX].stride_bytes;
    a.weight = pointer(t[kWeight]);
    a.dy = pointer(t[kDy]);
    a.dy_stride = t[kDy].stride_bytes;
    a.mean = pointer(t[kMean]);
    a.rstd = pointer(t[kRstd]);
    a.dresidual = pointer(t[kDresidual]);
    a.dresidual_stride = t[kDresidual].stride_bytes;
    a.dx = pointer(t[kDx]);
    a.dx_stride = t[kDx].stride_bytes;
    set_gradients(gradients, t, spec.hidden_size, gradient_bytes, backward);
    call.units[0] = a.dx != nullptr || backward.gradient_count > 0 ? a.group_end : 0;
    call.units[1] = backward.gradient_count > 0 ? spec.hidden_size : 0;
    if (plan.cuda != nullptr) return;
    a.prefetch = beyond_cache(t[kX]);
    a.non_temporal = non_temporal(t[kDx]);
  }

  static void run(const NormPlan& plan, const Call& call, int32_t phase, int64_t begin, int64_t end) {
    if (phase == 0) {
      BackwardArguments a = call.backward.rows;
      a.group_begin = begin;
      a.group_end = end;
      return plan.cpu.backward.run(plan.spec, plan.cpu.backward, a);
    }
    for (int32_t i = 0; i < call.backward.gradient_count; ++i) {
      ColumnArguments a = call.backward.gradients[i];
      a.column_begin = begin;
      a.column_end = end;
      plan.cpu.columns.run(plan.spec, a);
    }
  }

  static void launch(const NormPlan& plan, const Call& call, int64_t stream) {
    const auto& cuda = *plan.cuda;
    BackwardCall backward = call.backward;
    int32_t& count = backward.gradient_count;
    if (call.units[0] > 0) {
      cuda.require(cuda.plugin.backward(cuda.prepared, backward.rows, stream), "starting the backward");
    }
    if (backward.rows.rows == 0) {
      // The sum of no rows is 0: written under NC_GRADIENT_WRITE, nothing to add under NC_GRADIENT_ACCUMULATE.
      ColumnArguments* const all = backward.gradients;
      const auto accumulates = [](const ColumnArguments& gradient) { return gradient.accumulate; };
      count = static_cast<int32_t>(std::remove_if(all, all + count, accumulates) - all);
    }
    if (count > 0) {
      cuda.require(cuda.plugin.columns(cuda.prepared, backward.gradients, count, stream),
                   "starting the sum of weight gradients");
    }
  }

 private:
  static void require_parameters(const NormSpec& spec, const Args& args, const Tensors<kCount>& t) {
    require_affine(t[kWeight], spec.has_weight);
    if (spec.op == Op::rms_norm) {
      require_absent(t[kMean], "RMSNorm has no mean");
    } else if (args.rows > 0) {
      require_present(t[kMean], kSaved);
    }
    if (t[kDresidual].present() && !t[kDx].present() && args.rows > 0) {
      fail(NC_INVALID_ARGUMENT, "dresidual: given, but dx, to which it is added, is absent");
    }
  }
};

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_norm_backward(int64_t plan, const nc_norm_backward_args* args) NC_NOEXCEPT {
  return nc::run_whole<nc::NormBackward>(plan, args);
}

int32_t nc_norm_backward_begin(int64_t plan, const nc_norm_backward_args* args, void* call,
                               int64_t units[2]) NC_NOEXCEPT {
  return nc::begin_call<nc::NormBackward>(plan, args, call, units);
}

}  // extern "C"
