// Every policy, bit for bit: the library against the scalar model, forward and backward, over every mix of types.

#include <gtest/gtest.h>

#include "harness.h"

namespace {

using namespace harness;

const int32_t kDtypes[] = {NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};

void expectPredicted(const Case& c, uint64_t seed, const Form& form = {}) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const Data data = draw(c, seed);
  EXPECT_TRUE(same(c, predict(c, data), run(c, data, form)));
}

// One test per op, input and weight type.
class Policies : public ::testing::TestWithParam<std::tuple<int32_t, int32_t, int32_t>> {};

std::string typesName(const ::testing::TestParamInfo<std::tuple<int32_t, int32_t, int32_t>>& info) {
  const auto [op, x, weight] = info.param;
  return std::string(op == NC_RMS_NORM ? "Rms" : "Layer") + "_" + reference::format(x).name + "_" +
         reference::format(weight).name;
}

INSTANTIATE_TEST_SUITE_P(Types, Policies,
                         ::testing::Combine(::testing::Values(NC_RMS_NORM, NC_LAYER_NORM), ::testing::ValuesIn(kDtypes),
                                            ::testing::ValuesIn(kDtypes)),
                         typesName);

// Rounding x offset x affine x output type x compute type x residual form x variance: all of them, each at one of a
// few sizes, at one of the supported levels and, in turn, with each way of keeping the gradients.
TEST_P(Policies, EveryCombination) {
  const auto [op, x, w] = GetParam();
  const int64_t sizes[] = {5, 8, 17, 40};
  const std::vector<int32_t> levels = supportedLevels();
  uint64_t turn = 0;
  for (const int32_t y : kDtypes) {
    for (int32_t rounding = 0; rounding < 3; ++rounding) {
      for (int32_t offset = 0; offset < 3; ++offset) {
        for (int32_t affine = 0; affine < 4; ++affine) {
          if (!reference::hasWeight(affine) && offset != NC_GAMMA_NONE) continue;
          for (int32_t compute = 0; compute < 2; ++compute) {
            for (int32_t residual = 0; residual < 3; ++residual) {
              for (int32_t variance = 0; variance < (op == NC_LAYER_NORM ? 3 : 1); ++variance) {
                ++turn;
                Case c;
                c.spec = makeSpec(op, x, w, y, sizes[turn * 7 / 3 % 4]);
                c.spec.affine = affine;
                c.spec.scale_rounding = rounding;
                c.spec.gamma_offset = offset;
                c.spec.compute = compute;
                c.spec.variance = variance;
                c.spec.residual_rounding = residual == 2 ? NC_RESIDUAL_COMPUTE : NC_RESIDUAL_INPUT;
                c.residual = residual != 0;
                c.dresidual = residual != 0;
                c.rows = 1 + static_cast<int64_t>(turn % 3);
                c.dweight_dtype = turn % 4 < 2 ? w : NC_FLOAT32;
                c.dbias_dtype = turn % 8 < 4 ? w : NC_FLOAT32;
                if (turn % 4 == 3) c.dweight_mode = NC_GRADIENT_ACCUMULATE;
                if (turn % 16 >= 12) c.dbias_mode = NC_GRADIENT_ACCUMULATE;
                Form form;
                form.level = levels[turn % levels.size()];
                expectPredicted(c, turn, form);
                if (HasFailure()) return;
              }
            }
          }
        }
      }
    }
  }
}

// The same mixes under the policies in use, at sizes where rows have many lanes, and with several row groups.
TEST_P(Policies, LongerRowsAndManyRows) {
  const auto [op, x, w] = GetParam();
  uint64_t turn = 0;
  for (const int64_t n : {257, 1024, 3100}) {
    for (int32_t rounding = 0; rounding < 3; ++rounding) {
      Case c;
      ++turn;
      c.spec = makeSpec(op, x, w, kDtypes[turn % 4], n);
      c.spec.scale_rounding = rounding;
      c.spec.variance = op == NC_LAYER_NORM ? static_cast<int32_t>(turn % 3) : 0;
      c.rows = n < 1000 ? 70 : 19;
      c.dweight_dtype = c.dbias_dtype = w;
      expectPredicted(c, turn);
    }
  }
}

}  // namespace
