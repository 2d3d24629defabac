// Every policy, bit for bit: the library against the scalar model, forward and backward, over every mix of types.

#include <gtest/gtest.h>

#include "support/harness.h"

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

// At each supported level in turn.
TEST_P(Policies, EveryCombination) {
  const auto [op, x, w] = GetParam();
  const std::vector<int32_t> levels = supportedLevels();
  forEveryCombination(op, x, w, {5, 8, 17, 40}, [&](const Case& c, uint64_t turn) {
    Form form;
    form.level = levels[turn % levels.size()];
    expectPredicted(c, turn, form);
    return !HasFailure();
  });
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
