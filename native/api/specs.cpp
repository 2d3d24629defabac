// The validation of specs.
#include <cmath>

#include "../core/fp8_scale.h"
#include "plan.h"
#include "tensor.h"

namespace nc {
namespace {

// The core's enumerations are cast from the header's numbers.
static_assert(static_cast<int32_t>(DType::float8_e8m0) == NC_FLOAT8_E8M0);
static_assert(static_cast<int32_t>(ScaleRounding::weight) == NC_ROUND_WEIGHT);
static_assert(static_cast<int32_t>(GammaOffset::one_in_weight) == NC_GAMMA_ONE_IN_WEIGHT);
static_assert(static_cast<int32_t>(Variance::sum_of_squares) == NC_VARIANCE_SUM_OF_SQUARES);
static_assert(static_cast<int32_t>(Scaling::tensor) == NC_SCALING_TENSOR);
static_assert(static_cast<int32_t>(Scaling::row) == NC_SCALING_ROW);
static_assert(static_cast<int32_t>(Scaling::block) == NC_SCALING_BLOCK);
static_assert(static_cast<int32_t>(RotaryLayout::interleaved) == NC_ROTARY_INTERLEAVED);
static_assert(static_cast<int32_t>(RotaryRounding::input) == NC_ROTARY_ROUND_INPUT);
static_assert(kScaleBlock == NC_SCALE_BLOCK);

DType norm_dtype(const char* name, int32_t value) {
  require_range(name, value, NC_FLOAT8_E8M0);
  if (value > NC_FLOAT16) {
    fail(NC_UNSUPPORTED, "%s: %s is not supported by norms, expected float64, float32, bfloat16 or float16", name,
         name_of(static_cast<DType>(value)));
  }
  return static_cast<DType>(value);
}

DType rotary_dtype(const char* name, int32_t value) {
  require_range(name, value, NC_FLOAT8_E8M0);
  if (value < NC_FLOAT32 || value > NC_FLOAT16) {
    fail(NC_UNSUPPORTED, "%s: %s is not supported by rotary embeddings, expected float32, bfloat16 or float16", name,
         name_of(static_cast<DType>(value)));
  }
  return static_cast<DType>(value);
}

// 0, which is no type of FP8 conversions, means that the plan has no such tensor.
DType optional_wide_dtype(const char* name, int32_t value) {
  if (value != 0) require_wide(name, static_cast<DType>(value));
  return static_cast<DType>(value);
}

DType fp8_format(int32_t value) {
  if (value != NC_FLOAT8_E4M3 && value != NC_FLOAT8_E5M2) {
    fail(NC_INVALID_ARGUMENT, "format: %d, expected %d (float8_e4m3) or %d (float8_e5m2)", value, NC_FLOAT8_E4M3,
         NC_FLOAT8_E5M2);
  }
  return static_cast<DType>(value);
}

}  // namespace

NormSpec NormKind::validated(const nc_norm_spec& s) {
  require_range("op", s.op, NC_LAYER_NORM);
  require_range("affine", s.affine, NC_AFFINE_WEIGHT_AND_BIAS);
  require_range("scale_rounding", s.scale_rounding, NC_ROUND_WEIGHT);
  require_range("gamma_offset", s.gamma_offset, NC_GAMMA_ONE_IN_WEIGHT);
  require_range("variance", s.variance, NC_VARIANCE_SUM_OF_SQUARES);
  require_range("compute", s.compute, NC_COMPUTE_FLOAT64);
  require_range("residual_rounding", s.residual_rounding, NC_RESIDUAL_COMPUTE);
  if (s.op == NC_RMS_NORM && s.variance != NC_VARIANCE_TWO_PASS) {
    fail(NC_INVALID_ARGUMENT, "variance: %d, but RMSNorm has no variance algorithm, expected 0 (two-pass)", s.variance);
  }
  if (s.hidden_size < 1 || s.hidden_size > NC_MAX_HIDDEN_SIZE) {
    fail(NC_INVALID_ARGUMENT, "hidden_size: %" PRId64 ", expected 1 to %d", s.hidden_size, NC_MAX_HIDDEN_SIZE);
  }
  if (!std::isfinite(s.epsilon) || s.epsilon < 0) {
    fail(NC_INVALID_ARGUMENT, "epsilon: %g, expected a finite number of at least 0", s.epsilon);
  }
  NormSpec spec{};
  spec.op = static_cast<Op>(s.op);
  spec.x = norm_dtype("x_dtype", s.x_dtype);
  spec.weight = norm_dtype("weight_dtype", s.weight_dtype);
  if (s.y_dtype == NC_FLOAT8_E4M3 || s.y_dtype == NC_FLOAT8_E5M2) {
    require_range("y_scaling", s.y_scaling, NC_SCALING_BLOCK);
    if (s.y_scaling == NC_SCALING_NONE) {
      fail(NC_INVALID_ARGUMENT, "y_scaling: 0 (none), expected 1 to 3: y is %s",
           name_of(static_cast<DType>(s.y_dtype)));
    }
    require_range("y_power_of_two", s.y_power_of_two, s.y_scaling == NC_SCALING_ROW ? 1 : 0);
    spec.scaling = static_cast<Scaling>(s.y_scaling);
    spec.quantized = static_cast<DType>(s.y_dtype);
    spec.power_of_two = s.y_power_of_two != 0;
    spec.y = norm_dtype("dy_dtype", s.dy_dtype);
  } else {
    spec.y = norm_dtype("y_dtype", s.y_dtype);
    require_range("y_scaling", s.y_scaling, NC_SCALING_NONE);
    require_range("y_power_of_two", s.y_power_of_two, 0);
  }
  spec.has_weight = (s.affine & NC_AFFINE_WEIGHT) != 0;
  spec.has_bias = (s.affine & NC_AFFINE_BIAS) != 0;
  if (s.affine == NC_AFFINE_NONE) spec.weight = spec.x;
  spec.scale_rounding = static_cast<ScaleRounding>(s.scale_rounding);
  spec.gamma_offset = static_cast<GammaOffset>(s.gamma_offset);
  spec.variance = static_cast<Variance>(s.variance);
  spec.compute = static_cast<Compute>(s.compute);
  spec.residual_rounding = static_cast<ResidualRounding>(s.residual_rounding);
  spec.hidden_size = s.hidden_size;
  spec.epsilon = s.epsilon;
  return spec;
}

RotarySpec RotaryKind::validated(const nc_rotary_spec& s) {
  RotarySpec spec{};
  spec.x = rotary_dtype("x_dtype", s.x_dtype);
  spec.table = rotary_dtype("table_dtype", s.table_dtype);
  require_range("layout", s.layout, NC_ROTARY_INTERLEAVED);
  require_range("rounding", s.rounding, NC_ROTARY_ROUND_INPUT);
  if (s.head_dim < 2 || s.head_dim > NC_MAX_HEAD_DIM) {
    fail(NC_INVALID_ARGUMENT, "head_dim: %d, expected 2 to %d", s.head_dim, NC_MAX_HEAD_DIM);
  }
  if (s.rotary_dim < 2 || s.rotary_dim > s.head_dim || s.rotary_dim % 2 != 0) {
    fail(NC_INVALID_ARGUMENT, "rotary_dim: %d, expected an even number from 2 to the head's %d", s.rotary_dim,
         s.head_dim);
  }
  spec.layout = static_cast<RotaryLayout>(s.layout);
  spec.rounding = static_cast<RotaryRounding>(s.rounding);
  spec.head_dim = s.head_dim;
  spec.rotary_dim = s.rotary_dim;
  return spec;
}

Fp8Spec Fp8Kind::validated(const nc_fp8_spec& s) {
  Fp8Spec spec{};
  spec.x = optional_wide_dtype("x_dtype", s.x_dtype);
  spec.y = optional_wide_dtype("y_dtype", s.y_dtype);
  spec.format = fp8_format(s.format);
  if (s.scaling < NC_SCALING_TENSOR || s.scaling > NC_SCALING_BLOCK) {
    fail(NC_INVALID_ARGUMENT, "scaling: %d, expected %d (tensor), %d (row) or %d (block)", s.scaling, NC_SCALING_TENSOR,
         NC_SCALING_ROW, NC_SCALING_BLOCK);
  }
  require_range("margin", s.margin, NC_MAX_MARGIN);
  require_range("power_of_two", s.power_of_two, 1);
  spec.scaling = static_cast<Scaling>(s.scaling);
  spec.margin = s.margin;
  spec.power_of_two = s.power_of_two != 0;
  return spec;
}

void require_wide(const char* name, DType dtype) {
  if (dtype != DType::float32 && dtype != DType::bfloat16 && dtype != DType::float16) {
    fail(NC_INVALID_ARGUMENT, "%s: %d, expected %d (float32), %d (bfloat16) or %d (float16)", name,
         static_cast<int32_t>(dtype), NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16);
  }
}

const char* name_of(DType dtype) {
  static const char* const names[] = {"float64",     "float32",     "bfloat16",   "float16",
                                      "float8_e4m3", "float8_e5m2", "float8_e8m0"};
  return names[static_cast<int>(dtype)];
}

}  // namespace nc
