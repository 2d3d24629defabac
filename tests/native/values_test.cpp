// Special values in a row follow IEEE arithmetic, bit for bit as in the scalar model, and do not affect other rows.

#include <gtest/gtest.h>

#include <functional>

#include "support/harness.h"

namespace {

using namespace harness;
using reference::encode;
using reference::format;

struct Mix {
  const char* name;
  int32_t op, x, weight, y, rounding, variance, compute;
};

const Mix kMixes[] = {
    {"RmsF32", NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, 0, 0},
    {"RmsBf16", NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_INPUT, 0, 0},
    {"RmsF16", NC_RMS_NORM, NC_FLOAT16, NC_FLOAT16, NC_FLOAT16, NC_ROUND_WEIGHT, 0, 0},
    {"RmsF64", NC_RMS_NORM, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, NC_ROUND_COMPUTE, 0, 1},
    {"LayerF32", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, NC_VARIANCE_TWO_PASS, 0},
    {"LayerF32Welford", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, NC_VARIANCE_WELFORD, 0},
    {"LayerF32Sums", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, NC_VARIANCE_SUM_OF_SQUARES,
     0},
    {"LayerBf16", NC_LAYER_NORM, NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16, NC_ROUND_INPUT, NC_VARIANCE_TWO_PASS, 0},
    {"LayerF16", NC_LAYER_NORM, NC_FLOAT16, NC_FLOAT16, NC_FLOAT16, NC_ROUND_COMPUTE, NC_VARIANCE_WELFORD, 0},
    {"LayerF64Narrow", NC_LAYER_NORM, NC_FLOAT64, NC_BFLOAT16, NC_FLOAT16, NC_ROUND_INPUT, NC_VARIANCE_TWO_PASS, 0},
};

class Values : public ::testing::TestWithParam<Mix> {
 protected:
  Case make(int64_t rows, int64_t n) const {
    const Mix& m = GetParam();
    Case c;
    c.spec = makeSpec(m.op, m.x, m.weight, m.y, n);
    c.spec.scale_rounding = m.rounding;
    c.spec.variance = m.variance;
    c.spec.compute = m.compute;
    c.rows = rows;
    c.dweight_dtype = c.dbias_dtype = m.weight;
    return c;
  }
};

INSTANTIATE_TEST_SUITE_P(Mixes, Values, ::testing::ValuesIn(kMixes), [](const auto& info) { return info.param.name; });

const double kInfinity = HUGE_VAL;
const double kNan = std::nan("");

// The special elements of a row; the rest of the batch is drawn.
struct SpecialRow {
  const char* name;
  std::function<double(int64_t i, int64_t n, double drawn, const reference::Format&)> at;
};

const std::vector<SpecialRow>& specialRows() {
  static const std::vector<SpecialRow> rows = {
      {"one NaN", [](int64_t i, int64_t n, double v, const auto&) { return i == n / 2 ? kNan : v; }},
      {"NaN last", [](int64_t i, int64_t n, double v, const auto&) { return i == n - 1 ? kNan : v; }},
      {"one infinity", [](int64_t i, int64_t, double v, const auto&) { return i == 0 ? kInfinity : v; }},
      {"both infinities",
       [](int64_t i, int64_t n, double v, const auto&) { return i == 0       ? kInfinity
                                                                : i == n - 1 ? -kInfinity
                                                                             : v; }},
      {"all infinite", [](int64_t, int64_t, double, const auto&) { return -kInfinity; }},
      {"zeros", [](int64_t, int64_t, double, const auto&) { return 0.0; }},
      {"negative zeros", [](int64_t, int64_t, double, const auto&) { return -0.0; }},
      {"smallest subnormals",
       [](int64_t i, int64_t, double, const auto& f) {
         return std::ldexp(i % 2 == 0 ? 1.0 : -3.0, reference::smallestExponent(f));
       }},
      {"subnormals among ones",
       [](int64_t i, int64_t, double, const auto& f) {
         return i % 3 == 0 ? 1.0 : std::ldexp(static_cast<double>(i), reference::smallestExponent(f));
       }},
      {"largest", [](int64_t i, int64_t, double, const auto& f) { return i % 2 == 0 ? f.max : -f.max; }},
      {"65504", [](int64_t, int64_t, double, const auto&) { return 65504.0; }},
      {"65504 of both signs", [](int64_t i, int64_t, double, const auto&) { return i % 3 == 0 ? -65504.0 : 65504.0; }},
      {"mean 10^4 times the spread", [](int64_t, int64_t, double v, const auto&) { return 10000 + v; }},
      {"constant", [](int64_t, int64_t, double, const auto&) { return 1.7; }},
      {"one outlier", [](int64_t i, int64_t n, double v, const auto&) { return i == n / 3 ? 30000.0 : v * 1e-3; }},
  };
  return rows;
}

TEST_P(Values, SpecialRowsMatchTheModelAndAffectNoOthers) {
  const std::vector<SpecialRow>& specials = specialRows();
  for (const int64_t n : {1, 7, 31, 200, 4100}) {
    const Case c = make(2 * static_cast<int64_t>(specials.size()) + 1, n);
    const reference::Format& f = format(c.spec.x_dtype);
    const Data plain = draw(c, 21);
    Data data = plain;
    for (size_t s = 0; s < specials.size(); ++s) {  // the odd rows
      for (int64_t i = 0; i < n; ++i) {
        uint64_t& x = data.x[(2 * s + 1) * static_cast<size_t>(n) + static_cast<size_t>(i)];
        x = encode(f, specials[s].at(i, n, reference::decode(f, x), f));
      }
    }
    const Result expected = predict(c, data), undisturbed = run(c, plain);
    for (const int32_t level : supportedLevels()) {
      Form form;
      form.level = level;
      const Result result = run(c, data, form);
      EXPECT_TRUE(same(c, expected, result)) << levelName(level);
      for (size_t row = 0; row < static_cast<size_t>(c.rows); row += 2) {
        EXPECT_EQ(undisturbed.rstd[row], result.rstd[row]);
        for (size_t i = row * static_cast<size_t>(n); i < (row + 1) * static_cast<size_t>(n); ++i) {
          ASSERT_EQ(undisturbed.y[i], result.y[i]) << "row " << row << " of " << n;
          ASSERT_EQ(undisturbed.dx[i], result.dx[i]) << "row " << row << " of " << n;
        }
      }
    }
  }
}

TEST_P(Values, SpecialWeightsAndGradients) {
  Case c = make(3, 61);
  Data data = draw(c, 22);
  const reference::Format &w = format(c.spec.weight_dtype), &y = format(c.spec.y_dtype);
  data.weight[0] = encode(w, kNan);
  data.weight[1] = encode(w, kInfinity);
  data.weight[2] = encode(w, -0.0);
  data.weight[3] = encode(w, w.max);
  data.weight[4] = encode(w, std::ldexp(1.0, reference::smallestExponent(w)));
  data.dy[61 + 5] = encode(y, kNan);
  data.dy[122 + 6] = encode(y, kInfinity);
  data.dy[7] = encode(y, y.max);
  data.dy[8] = encode(y, -0.0);
  for (int32_t offset = 0; offset < 3; ++offset) {
    c.spec.gamma_offset = offset;
    for (const int32_t level : supportedLevels()) {
      Form form;
      form.level = level;
      EXPECT_TRUE(same(c, predict(c, data), run(c, data, form))) << levelName(level);
    }
  }
}

// The residual sum overflows its storage type: infinity is stored and, under INPUT, normalised.
TEST_P(Values, ResidualSumOverflows) {
  Case c = make(2, 40);
  c.residual = c.dresidual = true;
  Data data = draw(c, 23);
  const reference::Format& x = format(c.spec.x_dtype);
  data.x[3] = data.residual[3] = encode(x, x.max);
  data.x[5] = encode(x, kInfinity);
  data.residual[5] = encode(x, -kInfinity);
  for (int32_t rounding = 0; rounding < 2; ++rounding) {
    c.spec.residual_rounding = rounding;
    const Result result = run(c, data);
    EXPECT_TRUE(same(c, predict(c, data), result));
    EXPECT_EQ(encode(x, kNan), result.residual_out[5]);
    // Float64 storage of a float32 sum: float32's infinity is stored.
    EXPECT_EQ(encode(x, kInfinity), result.residual_out[3]);
  }
}

// 65504 everywhere: float16's statistics are computed in the compute type, so nothing overflows.
TEST(FiniteValues, LargestFloat16DoesNotOverflow) {
  for (const int64_t n : {31, 4096, 65537}) {
    Case c;
    c.spec = makeSpec(NC_RMS_NORM, NC_FLOAT16, NC_FLOAT16, NC_FLOAT16, n);
    c.rows = 1;
    Data data = draw(c, 24);
    std::fill(data.x.begin(), data.x.end(), encode(format(NC_FLOAT16), 65504));
    std::fill(data.weight.begin(), data.weight.end(), encode(format(NC_FLOAT16), 1));
    for (const uint64_t bits : run(c, data).y) ASSERT_EQ(0x3C00u, bits);  // 1
  }
}

// A constant row of a 16-bit type: its sum is exact in float32, so its variance and xhat are 0 and y is the bias.
TEST(FiniteValues, ConstantRowGivesTheBias) {
  for (const int32_t dtype : {NC_BFLOAT16, NC_FLOAT16}) {
    for (const int64_t n : {1, 2, 37, 769, 4096}) {
      for (int32_t variance = 0; variance < 2; ++variance) {
        Case c;
        c.spec = makeSpec(NC_LAYER_NORM, dtype, dtype, dtype, n);
        c.spec.variance = variance;
        c.spec.epsilon = 1e-12;
        c.rows = 1;
        Data data = draw(c, 25);
        std::fill(data.x.begin(), data.x.end(), encode(format(dtype), 1.7));
        EXPECT_EQ(data.bias, run(c, data).y) << c.describe();
      }
    }
  }
}

// Welford's mean of a constant row is the constant, in every type.
TEST(FiniteValues, ConstantRowUnderWelford) {
  for (const int64_t n : {1, 3, 37, 769, 20001}) {
    Case c;
    c.spec = makeSpec(NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, n);
    c.spec.variance = NC_VARIANCE_WELFORD;
    c.rows = 1;
    Data data = draw(c, 26);
    std::fill(data.x.begin(), data.x.end(), encode(format(NC_FLOAT32), 0.1));
    EXPECT_EQ(data.bias, run(c, data).y) << n;
  }
}

// Epsilon 0 and a row of zeros: 0 * infinity is NaN in IEEE arithmetic; any other epsilon gives 0.
TEST(FiniteValues, EpsilonZero) {
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    Case c;
    c.spec = makeSpec(op, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, 19);
    c.spec.affine = NC_AFFINE_NONE;
    c.rows = 1;
    Data data = draw(c, 27);
    std::fill(data.x.begin(), data.x.end(), 0);
    for (const uint64_t bits : run(c, data).y) EXPECT_EQ(0u, bits);
    c.spec.epsilon = 0;
    EXPECT_TRUE(same(c, predict(c, data), run(c, data)));
    for (const uint64_t bits : run(c, data).y) EXPECT_EQ(format(NC_FLOAT32).nan, bits);
  }
}

// Zero rows: written gradients are zeros, accumulated ones are unchanged, and no address is read.
TEST(ZeroRows, GradientsAreZeroOrUnchanged) {
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    Case c;
    c.spec = makeSpec(op, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, 13);
    c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
    c.rows = 0;
    c.dweight_dtype = NC_BFLOAT16;
    const Data data = draw(c, 28);
    const Result written = run(c, data);
    EXPECT_EQ(Bits(13, 0), written.dweight);
    EXPECT_EQ(Bits(13, 0), written.dbias);
    c.dweight_mode = c.dbias_mode = NC_GRADIENT_ACCUMULATE;
    c.dweight_dtype = NC_FLOAT32;
    const Data before = draw(c, 29);
    const Result kept = run(c, before);
    EXPECT_EQ(before.dweight, kept.dweight);
    EXPECT_EQ(before.dbias, kept.dbias);
    const Plan plan(c.spec);
    int64_t groups = -1, bytes = -1;
    check(nc_norm_backward_groups(plan, 0, &groups));
    check(nc_norm_backward_workspace(plan, 0, 1, 1, &bytes));
    EXPECT_EQ(0, groups);
    EXPECT_EQ(0, bytes);
  }
}

// Products too small for the type make sums of -0, which an added +0 would change: of a vector that a lane does not
// have (264 elements: 33 vectors in 32 lanes), or of a row slot without rows.
TEST(Underflow, SumsKeepNegativeZeros) {
  for (const int32_t type : {NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16}) {
    for (const int64_t n : {64, 136, 264, 520, 1032, 4096, 6152}) {
      for (const int64_t rows : {1, 2, 3, 5, 9}) {
        Case c;
        c.spec = makeSpec(NC_RMS_NORM, type, type, type, n);
        c.spec.affine = NC_AFFINE_WEIGHT;
        c.rows = rows;
        c.dweight_dtype = NC_FLOAT32;
        Data data = draw(c, 7);
        const reference::Format& f = format(type);
        const double tiny = type == NC_FLOAT16 ? std::ldexp(1.0, -24) : 1e-30;
        for (uint64_t& x : data.x) x = encode(f, tiny);
        for (uint64_t& dy : data.dy) dy = encode(f, type == NC_FLOAT16 ? -tiny : -1e-20);
        for (uint64_t& weight : data.weight) weight = encode(f, 1.0);
        data.dy[1] = encode(f, -0.0);
        const Result expected = predict(c, data);
        for (const int32_t level : supportedLevels()) {
          Form form;
          form.level = level;
          EXPECT_TRUE(same(c, expected, run(c, data, form)))
              << levelName(level) << ", type " << type << ", n " << n << ", rows " << rows;
        }
      }
    }
  }
}

}  // namespace
