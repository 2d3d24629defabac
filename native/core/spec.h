// What an operation is: plain data, validated once when a plan is made. The values are those of normcore.h.
#pragma once

#include <cstdint>

namespace nc {

enum class DType : int32_t { float64, float32, bfloat16, float16, float8_e4m3, float8_e5m2 };
enum class Op : int32_t { rms_norm, layer_norm };
enum class ScaleRounding : int32_t { compute, input, weight };
enum class GammaOffset : int32_t { none, one_in_compute, one_in_weight };
enum class Variance : int32_t { two_pass, welford, sum_of_squares };
enum class Compute : int32_t { float32, float64 };
enum class ResidualRounding : int32_t { input, compute };

struct NormSpec {
  Op op;
  DType x;
  DType weight;  // that of x where there is neither weight nor bias
  DType y;
  bool has_weight;
  bool has_bias;
  ScaleRounding scale_rounding;
  GammaOffset gamma_offset;
  Variance variance;
  Compute compute;
  ResidualRounding residual_rounding;
  int64_t hidden_size;
  double epsilon;
};

}  // namespace nc
