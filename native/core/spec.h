// Operation specs: plain data, validated once at plan creation. Enumerators have the values of normcore.h.
#pragma once

#include <cstdint>

namespace nc {

enum class DType : int32_t { float64, float32, bfloat16, float16, float8_e4m3, float8_e5m2, float8_e8m0 };
enum class Op : int32_t { rms_norm, layer_norm };
enum class ScaleRounding : int32_t { compute, input, weight };
enum class GammaOffset : int32_t { none, one_in_compute, one_in_weight };
enum class Variance : int32_t { two_pass, welford, sum_of_squares };
enum class Compute : int32_t { float32, float64 };
enum class ResidualRounding : int32_t { input, compute };
enum class Scaling : int32_t { none, tensor, row, block };
enum class RotaryLayout : int32_t { half_split, interleaved };
enum class RotaryRounding : int32_t { compute, input };

struct NormSpec {
  Op op;
  DType x;
  DType weight;  // of weight and bias; equals x if the op has neither
  DType y;       // of y and dy; if y is quantised, of dy alone
  bool has_weight;
  bool has_bias;
  ScaleRounding scale_rounding;
  GammaOffset gamma_offset;
  Variance variance;
  Compute compute;
  ResidualRounding residual_rounding;
  int64_t hidden_size;
  double epsilon;
  Scaling scaling;    // of a quantised y; otherwise none
  DType quantized;    // the FP8 format of a quantised y
  bool power_of_two;  // Scaling::row: scales are powers of two
};

// Rotary position embedding: rotates the first rotary_dim of the head_dim elements of each head.
struct RotarySpec {
  DType x;      // of x and y: float32, bfloat16 or float16
  DType table;  // of cos and sin: float32, bfloat16 or float16
  RotaryLayout layout;
  RotaryRounding rounding;
  int32_t head_dim;
  int32_t rotary_dim;  // even, 2 .. head_dim
};

// FP8 conversions.
struct Fp8Spec {
  DType x;       // to measure or quantise: float32, bfloat16 or float16
  DType y;       // dequantised: float32, bfloat16 or float16
  DType format;  // of q: float8_e4m3 or float8_e5m2
  Scaling scaling;
  int32_t margin;     // Scaling::tensor: of new scales
  bool power_of_two;  // Scaling::tensor: new scales are powers of two
};

}  // namespace nc
