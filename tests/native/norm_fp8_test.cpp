// FP8 outputs of the norms, bit for bit: the library against the scalar model, whose values are quantised from the
// definitions.

#include <gtest/gtest.h>

#include "support/fp8_cases.h"

namespace {

using namespace harness;

void expectPredicted(const Case& c, const Data& data, const Form& form = {}) {
  EXPECT_TRUE(same(c, predict(c, data), run(c, data, form)));
}

class Fp8Outputs : public ::testing::TestWithParam<std::tuple<int32_t, int32_t, int32_t>> {};
INSTANTIATE_TEST_SUITE_P(Types, Fp8Outputs,
                         ::testing::Combine(::testing::Values(NC_RMS_NORM, NC_LAYER_NORM),
                                            ::testing::ValuesIn(kNormTypes), ::testing::ValuesIn(kNormTypes)),
                         fp8TypesName);

// At each supported level in turn. 2100 and 4100 elements are more than one column tile in float64 and float32, the
// latter with a remainder too short for a tile of its own.
TEST_P(Fp8Outputs, EveryCombination) {
  const auto [op, x, w] = GetParam();
  const std::vector<int32_t> levels = supportedLevels();
  forEveryFp8Combination(op, x, w, {5, 8, 31, 32, 33, 40, 257, 2100, 4100}, [&](const Case& c, uint64_t turn) {
    Form form;
    form.level = levels[turn % levels.size()];
    SCOPED_TRACE("seed " + std::to_string(turn));
    expectPredicted(c, draw(c, turn), form);
    return !HasFailure();
  });
}

// Ranges, strides, misaligned addresses, residual_out in place of x: none changes a bit.
TEST(Fp8OutputForms, ChangeNothing) {
  for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
    for (const int32_t residual : {0, 1, 2}) {
      Case c = fp8Case(NC_LAYER_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_FLOAT8_E4M3, scaling, 4129);
      c.rows = 7;
      c.residual = residual != 0;
      c.spec.residual_rounding = residual == 2 ? NC_RESIDUAL_COMPUTE : NC_RESIDUAL_INPUT;
      const Data data = draw(c, 11);
      const Result expected = predict(c, data);
      for (const int32_t level : supportedLevels()) {
        for (const size_t offset : {0, 1, 6}) {
          for (const int64_t cut : {0, 1, 3}) {
            Form form;
            form.level = level;
            form.offset = offset;
            form.row_cut = cut;
            form.extra_stride = cut * 5;
            if (residual != 0 && cut != 0) form.residual_out = cut == 1 ? Form::kX : Form::kResidual;
            EXPECT_TRUE(same(c, expected, run(c, data, form)))
                << levelName(level) << " offset " << offset << " cut " << cut;
          }
        }
      }
    }
  }
}

TEST(Fp8OutputValues, AnyMagnitude) {
  for (const Case& c : specialFp8Cases()) {
    for (const int32_t level : supportedLevels()) {
      Form form;
      form.level = level;
      for (const Data& data : specialFp8Data(c)) expectPredicted(c, data, form);
    }
  }
}

// A block's scale is the smallest at which nothing saturates, so its largest element lies in the upper half of the
// format.
TEST(Fp8OutputValues, BlocksUseTheirRange) {
  Case c = fp8Case(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_BLOCK, 4096);
  const Result result = run(c, draw(c, 3));
  const reference::Format& format = reference::format(NC_FLOAT8_E4M3);
  for (size_t block = 0; block < result.y_scale_inv.size(); ++block) {
    double largest = 0;
    for (size_t i = 0; i < 32; ++i) {
      largest = std::max(largest, std::fabs(reference::decode(format, result.y[block * 32 + i])));
    }
    EXPECT_GT(largest, 224 * 15.0 / 16) << "block " << block;
    EXPECT_LE(largest, 448) << "block " << block;
  }
}

}  // namespace
