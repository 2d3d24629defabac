// Norms whose y is FP8, for the tests of either device.
#pragma once

#include <limits>

#include "support/harness.h"

namespace harness {

inline const int32_t kNormTypes[] = {NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};

inline Case fp8Case(int32_t op, int32_t x, int32_t w, int32_t y, int32_t scaling, int64_t n) {
  Case c;
  c.spec = makeSpec(op, x, w, y, n);
  c.spec.y_scaling = scaling;
  c.spec.dy_dtype = x;
  c.dweight_dtype = c.dbias_dtype = w;
  return c;
}

inline std::string fp8TypesName(const ::testing::TestParamInfo<std::tuple<int32_t, int32_t, int32_t>>& info) {
  const auto [op, x, weight] = info.param;
  return std::string(op == NC_RMS_NORM ? "Rms" : "Layer") + "_" + reference::format(x).name + "_" +
         reference::format(weight).name;
}

// Format x scaling x rounding x compute type x residual form x variance, in turn with offset, affine and powers of two.
// Continues while body(case, turn) returns true.
template <class Body>
void forEveryFp8Combination(int32_t op, int32_t x, int32_t w, const std::vector<int64_t>& sizes, Body body) {
  uint64_t turn = 0;
  for (const int32_t y : {NC_FLOAT8_E4M3, NC_FLOAT8_E5M2}) {
    for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
      for (int32_t rounding = 0; rounding < 3; ++rounding) {
        for (int32_t compute = 0; compute < 2; ++compute) {
          for (int32_t residual = 0; residual < 3; ++residual) {
            for (int32_t variance = 0; variance < (op == NC_LAYER_NORM ? 3 : 1); ++variance) {
              ++turn;
              Case c = fp8Case(op, x, w, y, scaling, sizes[turn * 7 / 3 % sizes.size()]);
              c.spec.scale_rounding = rounding;
              c.spec.compute = compute;
              c.spec.variance = variance;
              c.spec.residual_rounding = residual == 2 ? NC_RESIDUAL_COMPUTE : NC_RESIDUAL_INPUT;
              c.residual = c.dresidual = residual != 0;
              c.spec.affine = static_cast<int32_t>(turn / 2 % 4);
              if (c.hasWeight()) c.spec.gamma_offset = static_cast<int32_t>(turn / 8 % 3);
              c.spec.y_power_of_two = scaling == NC_SCALING_ROW && turn % 5 < 2;
              c.spec.dy_dtype = kNormTypes[turn / 3 % 4];
              c.rows = 1 + static_cast<int64_t>(turn % 3);
              if (!body(c, turn)) return;
            }
          }
        }
      }
    }
  }
}

// Both formats under every scaling, in float32, with short rows.
inline std::vector<Case> specialFp8Cases() {
  std::vector<Case> cases;
  for (const int32_t y : {NC_FLOAT8_E4M3, NC_FLOAT8_E5M2}) {
    for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
      for (int32_t power_of_two = 0; power_of_two < (scaling == NC_SCALING_ROW ? 2 : 1); ++power_of_two) {
        Case c = fp8Case(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, y, scaling, 72);
        c.spec.y_power_of_two = power_of_two;
        cases.push_back(c);
      }
    }
  }
  return cases;
}

// Weights give values of any magnitude: 0, subnormal, huge, infinite, NaN, signed, singly in an ordinary row and as
// whole rows; and scales at the ends of float32.
inline std::vector<Data> specialFp8Data(const Case& c) {
  const reference::Format& single = reference::format(NC_FLOAT32);
  const float infinity = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<Data> all;
  for (const float value : {0.0f, -0.0f, 1e-45f, -1e-40f, 1.2e-38f, 1e-30f, 3e38f, -3e38f, infinity, -infinity, nan,
                            -nan, 448.0f, 449.0f, 57344.0f, 0x1p-9f, 0x1p-10f, 0x1.8p-10f}) {
    for (const bool everywhere : {false, true}) {
      Data d = draw(c, 5);
      for (size_t i = 0; i < d.weight.size(); ++i) {
        if (everywhere || i == 0 || i == 37 || i == 71) d.weight[i] = reference::encode(single, value);
      }
      for (const float scale : {1.0f, 117.3f, 3e38f, 1.2e-38f}) {
        d.y_scale = scale;
        all.push_back(d);
        if (c.spec.y_scaling != NC_SCALING_TENSOR) break;
      }
    }
  }
  return all;
}

}  // namespace harness
