// FP8 conversions.
#include "call.h"
#include "operands.h"

namespace nc {
namespace {

using A = nc_fp8_args;

constexpr Operand<A> kX = {"x", &A::x, &A::x_stride, Extent::matrix, Element::x, "it is the input"};

Shape shape_of(const Fp8Spec& spec, const A& args) {
  if (args.reserved != 0) fail(NC_INVALID_ARGUMENT, "reserved: %d, expected 0", args.reserved);
  require_not_negative("rows", args.rows);
  require_not_negative("columns", args.columns);
  Shape shape{args.rows, args.columns, nullptr};
  shape.scaling = spec.scaling;
  shape.set(Element::x, bytes_of(spec.x));
  shape.set(Element::y, bytes_of(spec.y));
  shape.set(Element::q, bytes_of(spec.format));
  shape.set(Element::float32, 4);
  return shape;
}

// What the operations on rows have in common.
struct Fp8Rows {
  using Kind = Fp8Kind;
  using Args = A;
  static constexpr const char* kUnits[2] = {"row range", "range of no units"};

  static void set_units(const Shape& shape, Call& call) { call.units[0] = shape.empty() ? 0 : shape.rows; }
};

struct Fp8Amax : Fp8Rows {
  static constexpr Operand<A> kOperands[] = {
      kX,
      {"amax", &A::amax, nullptr, Extent::one, Element::float32, nullptr, true},
  };

  static void check(const Fp8Plan& plan, const Args& args, Call& call) {
    require_wide("x_dtype", plan.spec.x);
    const Shape shape = shape_of(plan.spec, args);
    const auto t = tensors_of<kOperands>(args, shape);
    const auto& [x, amax] = t;
    require_present(amax, "it is the output");
    require_apart(kOperands, t);
    require_reachable(plan, t);
    set_units(shape, call);
    call.amax = {plan.spec.x, shape.rows, shape.columns, pointer(x), x.stride_bytes, pointer(amax)};
  }

  static void run(const Fp8Plan& plan, const Call& call, int32_t, int64_t begin, int64_t end) {
    Fp8AmaxArguments a = call.amax;
    a.rows = end - begin;
    a.from += begin * a.stride;
    plan.cpu.amax(a);
  }

  static void launch(const Fp8Plan& plan, const Call& call, int64_t stream) {
    const auto& cuda = *plan.cuda;
    if (call.units[0] == 0) return;
    cuda.require(cuda.plugin.fp8_amax(cuda.device, call.amax, stream), "starting the computation of amax");
  }
};

struct Fp8Scale {
  using Kind = Fp8Kind;
  using Args = A;
  static constexpr const char* kUnits[2] = {"range of numbers", "range of no units"};
  static constexpr Operand<A> kOperands[] = {
      {"amax", &A::amax, nullptr, Extent::count, Element::float32, nullptr},
      {"scale_inv", &A::scale_inv, nullptr, Extent::count, Element::float32, nullptr, true},
      {"scale", &A::scale, nullptr, Extent::count, Element::float32, nullptr, true},
  };

  static void check(const Fp8Plan& plan, const Args& args, Call& call) {
    const Fp8Spec& spec = plan.spec;
    require_not_negative("count", args.count);
    Shape shape = shape_of(spec, args);
    shape.count = args.count;
    const auto t = tensors_of<kOperands>(args, shape);
    const auto& [amax, scale_inv, scale] = t;
    if (args.count > 0) {
      require_present(amax, "it is the input");
      if (!scale.present()) require_present(scale_inv, "scale is 0 too, and one of them is required");
    }
    require_apart(kOperands, t);
    require_reachable(plan, t);
    call.units[0] = args.count;
    call.scale = {spec.format,   spec.margin,    spec.power_of_two, args.count,
                  pointer(amax), pointer(scale), pointer(scale_inv)};
  }

  // Scalar: too few numbers for a kernel per vector level.
  static void run(const Fp8Plan&, const Call& call, int32_t, int64_t begin, int64_t end) {
    const Fp8ScaleArguments& a = call.scale;
    for (int64_t i = begin; i < end; ++i) {
      const float amax = reinterpret_cast<const float*>(a.amax)[i];
      const float scale = scale_of(amax, a.format, a.margin, a.power_of_two);
      put(a.scale, i, scale);
      put(a.scale_inv, i, inverse_of(scale));
    }
  }

  static void launch(const Fp8Plan& plan, const Call& call, int64_t stream) {
    const auto& cuda = *plan.cuda;
    if (call.units[0] == 0) return;
    cuda.require(cuda.plugin.fp8_scale(cuda.device, call.scale, stream), "starting the computation of scales");
  }

 private:
  static void put(char* numbers, int64_t i, float value) {
    if (numbers != nullptr) reinterpret_cast<float*>(numbers)[i] = value;
  }
};

struct Fp8Quantize : Fp8Rows {
  // By one scale, and by blocks.
  static constexpr Operand<A> kByTensor[] = {
      kX,
      {"scale", &A::scale, nullptr, Extent::one, Element::float32, nullptr},
      {"q", &A::q, &A::q_stride, Extent::matrix, Element::q, "it is the output", true},
      {"amax", &A::amax, nullptr, Extent::one, Element::float32, nullptr, true},
  };
  static constexpr Operand<A> kByBlock[] = {
      kX,
      {"scale_inv", &A::scale_inv, nullptr, Extent::scales, Element::float32, "the block scales are written to it",
       true},
      {"q", &A::q, &A::q_stride, Extent::matrix, Element::q, "it is the output", true},
  };

  static void check(const Fp8Plan& plan, const Args& args, Call& call) {
    const Fp8Spec& spec = plan.spec;
    require_wide("x_dtype", spec.x);
    const Shape shape = shape_of(spec, args);
    set_units(shape, call);
    if (spec.scaling == Scaling::tensor) {
      const auto t = tensors_of<kByTensor>(args, shape);
      const auto& [x, scale, q, amax] = t;
      require_present(scale, "x is multiplied by it");
      require_apart(kByTensor, t);
      require_reachable(plan, t);
      call.quantize = arguments(spec, shape, x, q);
      call.quantize.scale = pointer(scale);
      call.quantize.amax = pointer(amax);
    } else if (spec.scaling == Scaling::block) {
      const auto t = tensors_of<kByBlock>(args, shape);
      const auto& [x, scale_inv, q] = t;
      require_absent(vector("scale", args.scale, 1, 4), "every block has a scale of its own");
      require_absent(vector("amax", args.amax, 1, 4), "every block has a scale of its own");
      require_apart(kByBlock, t);
      require_reachable(plan, t);
      call.quantize = arguments(spec, shape, x, q);
      call.quantize.block_scales = pointer(scale_inv);
    } else {
      fail(NC_UNSUPPORTED, "plan: its scaling is %d (row), expected %d (tensor) or %d (block) to quantise",
           NC_SCALING_ROW, NC_SCALING_TENSOR, NC_SCALING_BLOCK);
    }
  }

  static void run(const Fp8Plan& plan, const Call& call, int32_t, int64_t begin, int64_t end) {
    Fp8QuantizeArguments a = call.quantize;
    a.rows = end - begin;
    a.from += begin * a.from_stride;
    a.to += begin * a.to_stride;
    if (a.block_scales != nullptr) a.block_scales += begin * ceil_div(a.columns, kScaleBlock);
    plan.cpu.quantize(a);
  }

  static void launch(const Fp8Plan& plan, const Call& call, int64_t stream) {
    const auto& cuda = *plan.cuda;
    if (call.units[0] == 0) return;
    cuda.require(
        cuda.plugin.fp8_quantize(cuda.device, call.quantize, stream),
        plan.spec.scaling == Scaling::block ? "starting the quantisation of blocks" : "starting the quantisation");
  }

 private:
  static Fp8QuantizeArguments arguments(const Fp8Spec& spec, const Shape& shape, const Tensor& x, const Tensor& q) {
    Fp8QuantizeArguments a{};
    a.x = spec.x;
    a.format = spec.format;
    a.scaling = spec.scaling;
    a.rows = shape.rows;
    a.columns = shape.columns;
    a.from = pointer(x);
    a.from_stride = x.stride_bytes;
    a.to = pointer(q);
    a.to_stride = q.stride_bytes;
    return a;
  }
};

struct Fp8Dequantize : Fp8Rows {
  static constexpr Operand<A> kOperands[] = {
      {"q", &A::q, &A::q_stride, Extent::matrix, Element::q, "it is the input"},
      {"scale_inv", &A::scale_inv, nullptr, Extent::scales, Element::float32, "q is multiplied by it"},
      {"y", &A::y, &A::y_stride, Extent::matrix, Element::y, "it is the output", true},
  };

  static void check(const Fp8Plan& plan, const Args& args, Call& call) {
    const Fp8Spec& spec = plan.spec;
    require_wide("y_dtype", spec.y);
    const Shape shape = shape_of(spec, args);
    const auto t = tensors_of<kOperands>(args, shape);
    const auto& [q, scale_inv, y] = t;
    if (spec.scaling == Scaling::tensor) require_present(scale_inv, "q is multiplied by it");
    require_apart(kOperands, t);
    require_reachable(plan, t);
    set_units(shape, call);
    call.dequantize = {spec.format, spec.y,         spec.scaling,       shape.rows, shape.columns,
                       pointer(q),  q.stride_bytes, pointer(scale_inv), pointer(y), y.stride_bytes};
  }

  static void run(const Fp8Plan& plan, const Call& call, int32_t, int64_t begin, int64_t end) {
    Fp8DequantizeArguments a = call.dequantize;
    a.rows = end - begin;
    a.from += begin * a.from_stride;
    a.to += begin * a.to_stride;
    a.scale_inv += begin * scale_bytes_per_row(a);
    plan.cpu.dequantize(a);
  }

  static void launch(const Fp8Plan& plan, const Call& call, int64_t stream) {
    const auto& cuda = *plan.cuda;
    if (call.units[0] == 0) return;
    cuda.require(cuda.plugin.fp8_dequantize(cuda.device, call.dequantize, stream), "starting the dequantisation");
  }

 private:
  static int64_t scale_bytes_per_row(const Fp8DequantizeArguments& a) {
    switch (a.scaling) {
      case Scaling::row:
        return sizeof(float);
      case Scaling::block:
        return ceil_div(a.columns, kScaleBlock);
      default:
        return 0;
    }
  }
};

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_fp8_amax(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT {
  return nc::run_whole<nc::Fp8Amax>(plan, args);
}
int32_t nc_fp8_scale(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT {
  return nc::run_whole<nc::Fp8Scale>(plan, args);
}
int32_t nc_fp8_quantize(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT {
  return nc::run_whole<nc::Fp8Quantize>(plan, args);
}
int32_t nc_fp8_dequantize(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT {
  return nc::run_whole<nc::Fp8Dequantize>(plan, args);
}

int32_t nc_fp8_amax_begin(int64_t plan, const nc_fp8_args* args, void* call, int64_t units[2]) NC_NOEXCEPT {
  return nc::begin_call<nc::Fp8Amax>(plan, args, call, units);
}
int32_t nc_fp8_quantize_begin(int64_t plan, const nc_fp8_args* args, void* call, int64_t units[2]) NC_NOEXCEPT {
  return nc::begin_call<nc::Fp8Quantize>(plan, args, call, units);
}
int32_t nc_fp8_dequantize_begin(int64_t plan, const nc_fp8_args* args, void* call, int64_t units[2]) NC_NOEXCEPT {
  return nc::begin_call<nc::Fp8Dequantize>(plan, args, call, units);
}

}  // extern "C"
