// The forward of a norm.
#include "norm.h"

namespace nc {
namespace {

using A = nc_norm_forward_args;

enum { kX, kResidual, kWeight, kBias, kY, kResidualOut, kMean, kRstd, kYScale, kYAmax, kYScaleInv };

constexpr unsigned kInPlace = 1u << kX | 1u << kResidual;
constexpr Operand<A> kOperands[] = {
    {"x", &A::x, &A::x_stride, Extent::matrix, Element::x, "it is the input"},
    {"residual", &A::residual, &A::residual_stride, Extent::matrix, Element::x, nullptr},
    {"weight", &A::weight, nullptr, Extent::columns, Element::weight, nullptr},
    {"bias", &A::bias, nullptr, Extent::columns, Element::weight, nullptr},
    {"y", &A::y, &A::y_stride, Extent::matrix, Element::q, "it is the output", true, kInPlace},
    {"residual_out", &A::residual_out, &A::residual_out_stride, Extent::matrix, Element::x, nullptr, true, kInPlace},
    {"mean", &A::mean, nullptr, Extent::rows, Element::compute, nullptr, true},
    {"rstd", &A::rstd, nullptr, Extent::rows, Element::compute, nullptr, true},
    {"y_scale", &A::y_scale, nullptr, Extent::one, Element::float32, nullptr},
    {"y_amax", &A::y_amax, nullptr, Extent::one, Element::float32, nullptr, true},
    {"y_scale_inv", &A::y_scale_inv, nullptr, Extent::scales, Element::float32, nullptr, true},
};
constexpr size_t kCount = sizeof(kOperands) / sizeof(kOperands[0]);

void require_residual_out(const Tensor& residual, const Tensor& residual_out) {
  if (residual.present()) {
    require_present(residual_out, "the residual sum is stored there");
  } else {
    require_absent(residual_out, "there is no residual");
  }
}

void require_statistics(Op op, const Tensor& mean, const Tensor& rstd) {
  if (op == Op::rms_norm) {
    require_absent(mean, "RMSNorm has no mean");
  } else if (mean.present() != rstd.present()) {
    fail(NC_INVALID_ARGUMENT, "%s: address 0, expected both mean and rstd for training, or neither for inference",
         mean.present() ? "rstd" : "mean");
  }
}

void require_scaling(Scaling scaling, int64_t rows, const Tensors<kCount>& t) {
  const char* const own_scales = "every row or block of y has a scale of its own";
  switch (scaling) {
    case Scaling::none:
      for (const int k : {kYScale, kYAmax, kYScaleInv}) require_absent(t[k], "y is not FP8");
      break;
    case Scaling::tensor:
      require_present(t[kYScale], "y has one scale");
      require_absent(t[kYScaleInv], "y has one scale, y_scale");
      break;
    default:
      require_absent(t[kYScale], own_scales);
      require_absent(t[kYAmax], own_scales);
      if (rows > 0) require_present(t[kYScaleInv], own_scales);
  }
}

struct NormForward {
  using Kind = NormKind;
  using Args = A;
  static constexpr const char* kUnits[2] = {"row range", "range of no units"};

  static void check(const NormPlan& plan, const Args& args, Call& call) {
    const NormSpec& spec = plan.spec;
    require_reserved(args.reserved);
    const Shape shape = shape_of(spec, args.rows);
    const Tensors<kCount> t = tensors_of<kOperands>(args, shape);
    require_affine(t[kWeight], spec.has_weight);
    require_affine(t[kBias], spec.has_bias);
    require_residual_out(t[kResidual], t[kResidualOut]);
    require_statistics(spec.op, t[kMean], t[kRstd]);
    require_scaling(spec.scaling, args.rows, t);
    require_apart(kOperands, t);
    require_reachable(plan, t);
    call.units[0] = args.rows;
    ForwardArguments& a = call.forward;
    a.row_begin = 0;
    a.row_end = args.rows;
    a.x = pointer(t[kX]);
    a.x_stride = t[kX].stride_bytes;
    a.residual = pointer(t[kResidual]);
    a.residual_stride = t[kResidual].stride_bytes;
    a.weight = pointer(t[kWeight]);
    a.bias = pointer(t[kBias]);
    a.y = pointer(t[kY]);
    a.y_stride = t[kY].stride_bytes;
    a.residual_out = pointer(t[kResidualOut]);
    a.residual_out_stride = t[kResidualOut].stride_bytes;
    a.mean = pointer(t[kMean]);
    a.rstd = pointer(t[kRstd]);
    a.y_scale = pointer(t[kYScale]);
    a.y_amax = pointer(t[kYAmax]);
    a.y_scale_inv = pointer(t[kYScaleInv]);
    a.prefetch = a.non_temporal = false;
    if (plan.cuda != nullptr) return;
    a.prefetch = beyond_cache(t[kX]);
    a.non_temporal = spec.scaling == Scaling::none && non_temporal(t[kY]);
  }

  static void run(const NormPlan& plan, const Call& call, int32_t, int64_t begin, int64_t end) {
    ForwardArguments a = call.forward;
    a.row_begin = begin;
    a.row_end = end;
    plan.cpu.forward.run(plan.spec, plan.cpu.forward, a);
  }

  static void launch(const NormPlan& plan, const Call& call, int64_t stream) {
    const auto& cuda = *plan.cuda;
    if (call.units[0] > 0) {
      cuda.require(cuda.plugin.forward(cuda.prepared, call.forward, stream), "starting the forward");
    }
  }
};

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_norm_forward(int64_t plan, const nc_norm_forward_args* args) NC_NOEXCEPT {
  return nc::run_whole<nc::NormForward>(plan, args);
}

int32_t nc_norm_forward_begin(int64_t plan, const nc_norm_forward_args* args, void* call,
                              int64_t units[2]) NC_NOEXCEPT {
  return nc::begin_call<nc::NormForward>(plan, args, call, units);
}

}  // extern "C"
