// Every size from 1 to 300, and the sizes up to 2^20 at which the summation order changes, at every vector level of
// this machine, bit for bit against the scalar model; and every number of rows at which the column sums change shape.

#include <gtest/gtest.h>

#include "support/harness.h"

namespace {

using namespace harness;

struct Mix {
  const char* name;
  int32_t op, x, weight, y, rounding, variance, compute;
  bool residual;
};

const Mix kMixes[] = {
    {"RmsBf16", NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_COMPUTE, 0, 0, false},
    {"RmsBf16RoundFirst", NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_INPUT, 0, 0, false},
    {"RmsBf16WideWeight", NC_RMS_NORM, NC_BFLOAT16, NC_FLOAT32, NC_FLOAT32, NC_ROUND_INPUT, 0, 0, true},
    {"RmsF16RoundToWeight", NC_RMS_NORM, NC_FLOAT16, NC_FLOAT16, NC_FLOAT16, NC_ROUND_WEIGHT, 0, 0, false},
    {"RmsF32", NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, 0, 0, false},
    {"RmsF64", NC_RMS_NORM, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, NC_ROUND_COMPUTE, 0, 1, false},
    {"LayerF32", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, NC_VARIANCE_TWO_PASS, 0, false},
    {"LayerBf16", NC_LAYER_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_COMPUTE, NC_VARIANCE_TWO_PASS, 0,
     true},
    {"LayerF32Welford", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_INPUT, NC_VARIANCE_WELFORD, 0,
     false},
    {"LayerF64Welford", NC_LAYER_NORM, NC_FLOAT64, NC_FLOAT32, NC_FLOAT64, NC_ROUND_COMPUTE, NC_VARIANCE_WELFORD, 1,
     false},
    {"LayerF16Sums", NC_LAYER_NORM, NC_FLOAT16, NC_FLOAT32, NC_FLOAT16, NC_ROUND_COMPUTE, NC_VARIANCE_SUM_OF_SQUARES, 0,
     false},
};

Case make(const Mix& mix, int64_t rows, int64_t n) {
  Case c;
  c.spec = makeSpec(mix.op, mix.x, mix.weight, mix.y, n);
  c.spec.scale_rounding = mix.rounding;
  c.spec.variance = mix.variance;
  c.spec.compute = mix.compute;
  c.residual = c.dresidual = mix.residual;
  c.rows = rows;
  c.dweight_dtype = c.dbias_dtype = mix.weight;
  return c;
}

class Sizes : public ::testing::TestWithParam<Mix> {
 protected:
  void expectPredicted(int64_t rows, int64_t n) {
    const Case c = make(GetParam(), rows, n);
    const Data data = draw(c, static_cast<uint64_t>(1000 * n + rows));  // the seed is in the failing case's shape
    const Result expected = predict(c, data);
    for (const int32_t level : supportedLevels()) {
      Form form;
      form.level = level;
      EXPECT_TRUE(same(c, expected, run(c, data, form))) << levelName(level);
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Mixes, Sizes, ::testing::ValuesIn(kMixes), [](const auto& info) { return info.param.name; });

TEST_P(Sizes, EverySizeTo300) {
  for (int64_t n = 1; n <= 300 && !HasFailure(); ++n) expectPredicted(2, n);
}

TEST_P(Sizes, AroundEveryChangeOfOrder) {
  for (const int64_t n : {511, 769, 1023, 2048, 3071, 3072, 3073, 3081, 4096, 4100, 6144, 6145, 6153, 9999, 16384}) {
    expectPredicted(2, n);
  }
}

TEST_P(Sizes, SeveralSegments) {
  for (const int64_t n : {16385, 32768, 32769, 65536, 65537}) expectPredicted(1, n);
}

TEST_P(Sizes, Longest) {
  // The scalar model takes seconds for the longest rows, so only one mix of each norm runs them.
  const bool longest = GetParam().x == NC_FLOAT32 && GetParam().variance == NC_VARIANCE_TWO_PASS;
  expectPredicted(1, longest ? 1048576 : 262144);
}

TEST_P(Sizes, Rows) {
  for (const int64_t rows : {0, 1, 2, 31, 32, 33, 37, 63, 64, 65, 97, 129, 300}) expectPredicted(rows, 24);
  for (const int64_t rows : {1, 5, 17, 40}) expectPredicted(rows, 229);
  for (const int64_t rows : {1, 4, 5, 9, 33}) expectPredicted(rows, 7000);
}

// More rows than groups: the groups' sizes differ by one row.
TEST_P(Sizes, ManyRows) {
  expectPredicted(9001, 3);
  expectPredicted(20011, 1);
}

}  // namespace
