// Distance of the results from exact arithmetic: against the long double model, which has no policy.
//
// Tolerances. u is half a unit in the last place of the compute type, 2^-24 or 2^-53. A sum in the order of
// core/reduction_order.h passes each term through at most `depth` additions, so its error is at most depth * u times
// the sum of the terms' magnitudes (first order; the factor 1.01 covers the rest). The operations after a sum add a few
// roundings of u each, and the output's one rounding adds half a unit in the last place of the output.

#include <gtest/gtest.h>

#include "support/harness.h"

namespace {

using namespace harness;
using reference::ExactRow;
using reference::format;

double unit(int32_t dtype) { return std::ldexp(1.0, -format(dtype).fraction_bits - 1); }

// Half a unit in the last place at v.
double halfUlp(int32_t dtype, long double v) {
  int exponent;
  std::frexp(static_cast<double>(v), &exponent);
  const reference::Format& f = format(dtype);
  return std::ldexp(0.5, std::max(exponent - 1 - f.fraction_bits, reference::smallestExponent(f)));
}

double depth(int64_t n) {
  const double vectors = std::ceil(static_cast<double>(n) / 8);
  return std::ceil(vectors / nc::segments(n) / nc::lanes(n)) + 3 + std::log2(nc::lanes(n)) + std::log2(nc::segments(n));
}

double columnDepth(int64_t rows, int64_t n) {
  const double groups = static_cast<double>(nc::groups(rows, n));
  return std::ceil(static_cast<double>(rows) / groups / nc::row_slots(n)) + std::ceil(std::log2(nc::row_slots(n))) +
         std::ceil(std::log2(groups));
}

std::vector<double> decoded(int32_t dtype, const Bits& bits) {
  std::vector<double> values;
  for (const uint64_t b : bits) values.push_back(reference::decode(format(dtype), b));
  return values;
}

struct Mix {
  const char* name;
  int32_t op, x, weight, y, variance, compute;
};

const Mix kMixes[] = {
    {"RmsF32", NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, 0, 0},
    {"RmsBf16", NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, 0, 0},
    {"RmsF64", NC_RMS_NORM, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, 0, 1},
    {"LayerF32", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_VARIANCE_TWO_PASS, 0},
    {"LayerF32Welford", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_VARIANCE_WELFORD, 0},
    {"LayerF16", NC_LAYER_NORM, NC_FLOAT16, NC_FLOAT32, NC_FLOAT16, NC_VARIANCE_TWO_PASS, 0},
    {"LayerF64", NC_LAYER_NORM, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, NC_VARIANCE_TWO_PASS, 1},
    {"LayerF64Welford", NC_LAYER_NORM, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, NC_VARIANCE_WELFORD, 1},
};

class Exactness : public ::testing::TestWithParam<Mix> {};

INSTANTIATE_TEST_SUITE_P(Mixes, Exactness, ::testing::ValuesIn(kMixes),
                         [](const auto& info) { return info.param.name; });

TEST_P(Exactness, OneRoundingFromTheExactValue) {
  const Mix& mix = GetParam();
  for (const int64_t n : {2, 9, 229, 1024, 4096, 65537}) {
    Case c;
    c.spec = makeSpec(mix.op, mix.x, mix.weight, mix.y, n);
    c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
    c.spec.variance = mix.variance;
    c.spec.compute = mix.compute;
    c.rows = n > 10000 ? 2 : 20;
    c.dweight_dtype = c.dbias_dtype = mix.weight;
    const Data data = draw(c, 31);
    const Result result = run(c, data);
    const std::vector<double> x = decoded(mix.x, data.x), w = decoded(mix.weight, data.weight),
                              b = decoded(mix.weight, data.bias), dy = decoded(mix.y, data.dy),
                              y = decoded(mix.y, result.y), dx = decoded(mix.x, result.dx),
                              dweight = decoded(mix.weight, result.dweight), dbias = decoded(mix.weight, result.dbias);
    const auto size = static_cast<size_t>(n);
    // Welford also rounds its running mean once per value: twice a sum's depth, and the merges'.
    const double u = unit(c.computeFormat()), d = depth(n) * (mix.variance == NC_VARIANCE_WELFORD ? 3 : 1);
    std::vector<long double> dweights(size), dbiases(size), dweight_size(size), dbias_size(size);
    for (int64_t r = 0; r < c.rows; ++r) {
      const size_t base = static_cast<size_t>(r) * size;
      const ExactRow row(mix.op, &x[base], n, c.spec.epsilon);
      long double mean_size = 0;
      for (size_t i = 0; i < size; ++i) mean_size += std::fabs(x[base + i]);
      mean_size /= static_cast<long double>(n);
      // The mean's error, as an error of xhat; then those of rstd and of the product.
      const long double mean_error = mix.op == NC_LAYER_NORM ? (d + 1) * u * mean_size * row.rstd : 0;
      const long double relative = ((d + 4) / 2 + 5) * u + mean_error * mean_error / 2;
      std::vector<long double> h(size);
      long double c1_size = 0, c2_size = 0, hat_error = 0;
      for (size_t i = 0; i < size; ++i) {
        const long double exact = row.xhat[i] * w[i] + b[i];
        const long double tolerance =
            1.01L * ((mean_error + relative * std::fabs(row.xhat[i])) * std::fabs(w[i]) + 2 * u * std::fabs(exact)) +
            halfUlp(mix.y, exact);
        ASSERT_LE(std::fabs(y[base + i] - exact), tolerance) << c.describe() << " y [" << r << ", " << i << "]";
        h[i] = static_cast<long double>(dy[base + i]) * w[i];
        c1_size += std::fabs(h[i] * row.xhat[i]) / static_cast<long double>(n);
        c2_size += std::fabs(h[i]) / static_cast<long double>(n);
        hat_error = std::max(hat_error, mean_error + relative * std::fabs(row.xhat[i]));
        const long double term = dy[base + i] * row.xhat[i];
        dweights[i] += term, dweight_size[i] += std::fabs(term) + std::fabs(dy[base + i]) * hat_error / u;
        dbiases[i] += dy[base + i], dbias_size[i] += std::fabs(dy[base + i]);
      }
      const std::vector<long double> exact = row.dx(mix.op, h);
      for (size_t i = 0; i < size; ++i) {
        const long double hat = std::fabs(row.xhat[i]);
        // rstd * (h - xhat * c1 - c2): each sum with its depth, and xhat with its error both in c1 and directly.
        const long double tolerance =
            1.01L * row.rstd *
                ((relative + 4 * u) * (std::fabs(h[i]) + hat * c1_size + c2_size) + hat_error * c1_size +
                 hat * (d * u * c1_size + hat_error * c2_size) + d * u * c2_size) +
            halfUlp(mix.x, exact[i]);
        ASSERT_LE(std::fabs(dx[base + i] - exact[i]), tolerance) << c.describe() << " dx [" << r << ", " << i << "]";
      }
    }
    const double columns = columnDepth(c.rows, n);
    for (size_t i = 0; i < size; ++i) {
      ASSERT_LE(std::fabs(dweight[i] - dweights[i]),
                1.01L * (columns + 1) * u * dweight_size[i] + halfUlp(mix.weight, dweights[i]))
          << c.describe() << " dweight [" << i << "]";
      ASSERT_LE(std::fabs(dbias[i] - dbiases[i]), 1.01L * columns * u * dbias_size[i] + halfUlp(mix.weight, dbiases[i]))
          << c.describe() << " dbias [" << i << "]";
    }
  }
}

// Weight gradients of LayerNorm in bfloat16 where dy has a mean: each is the exact sum, rounded once. If the exact sum
// is so close to a tie that the float32 sum's own error decides, the other neighbour is allowed and counted.
TEST(Exactness, LayerNormWeightGradientsAreRoundedOnce) {
  const int64_t rows = 4096, n = 1024;
  Case c;
  c.spec = makeSpec(NC_LAYER_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, n);
  c.rows = rows;
  c.dx = false;
  c.dweight_dtype = c.dbias_dtype = NC_BFLOAT16;
  Data data = draw(c, 32);
  std::mt19937_64 random(33);
  data.dy = drawBits(random, NC_BFLOAT16, rows * n, 0.3, 1);
  const Result result = run(c, data);
  const std::vector<double> x = decoded(NC_BFLOAT16, data.x), dy = decoded(NC_BFLOAT16, data.dy);
  std::vector<long double> dweights(static_cast<size_t>(n)), dbiases(static_cast<size_t>(n));
  for (int64_t r = 0; r < rows; ++r) {
    const size_t base = static_cast<size_t>(r * n);
    const ExactRow row(NC_LAYER_NORM, &x[base], n, c.spec.epsilon);
    for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
      dweights[i] += dy[base + i] * row.xhat[i];
      dbiases[i] += dy[base + i];
    }
  }
  const reference::Format& bf16 = format(NC_BFLOAT16);
  size_t other_neighbour = 0;
  long double weight_error = 0, weight_norm = 0, bias_error = 0, bias_norm = 0;
  for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
    const double dweight = reference::decode(bf16, result.dweight[i]), dbias = reference::decode(bf16, result.dbias[i]);
    EXPECT_LT(std::fabs(dweight - dweights[i]), 2 * halfUlp(NC_BFLOAT16, dweights[i])) << "dweight " << i;
    EXPECT_LT(std::fabs(dbias - dbiases[i]), 2 * halfUlp(NC_BFLOAT16, dbiases[i])) << "dbias " << i;
    other_neighbour += dweight != reference::round(bf16, static_cast<double>(dweights[i]));
    other_neighbour += dbias != reference::round(bf16, static_cast<double>(dbiases[i]));
    weight_error += (dweight - dweights[i]) * (dweight - dweights[i]), weight_norm += dweights[i] * dweights[i];
    bias_error += (dbias - dbiases[i]) * (dbias - dbiases[i]), bias_norm += dbiases[i] * dbiases[i];
  }
  EXPECT_LE(other_neighbour, 4u) << "of 2048 sums";
  // One rounding to bfloat16 is 2^-9 at most.
  EXPECT_LT(std::sqrt(weight_error / weight_norm), 0x1p-9);
  EXPECT_LT(std::sqrt(bias_error / bias_norm), 0x1p-9);
}

// Two values of float32 whose mean is 370 times their spread. Exact: -0.845427 and 0.845427.
class OneFlowPair : public ::testing::Test {
 protected:
  std::vector<double> normalised(int32_t dtype, int32_t compute, int32_t variance) {
    Case c;
    c.spec = makeSpec(NC_LAYER_NORM, dtype, dtype, dtype, 2);
    c.spec.affine = NC_AFFINE_NONE;
    c.spec.compute = compute;
    c.spec.variance = variance;
    c.rows = 1;
    Data data = draw(c, 34);
    x_ = {static_cast<double>(-1.83965693f), static_cast<double>(-1.82964566f)};
    for (size_t i = 0; i < 2; ++i) data.x[i] = reference::encode(format(dtype), x_[i]);
    return decoded(dtype, run(c, data).y);
  }
  double exact() const { return static_cast<double>(ExactRow(NC_LAYER_NORM, x_.data(), 2, 1e-5).xhat[1]); }

 private:
  std::vector<double> x_;
};

TEST_F(OneFlowPair, InFloat64EveryAlgorithmIsRight) {
  for (int32_t variance = 0; variance < 3; ++variance) {
    const std::vector<double> y = normalised(NC_FLOAT64, NC_COMPUTE_FLOAT64, variance);
    EXPECT_NEAR(-0.845427, y[0], 5e-7);
    EXPECT_NEAR(0.845427, y[1], 5e-7);
    // E[x^2] - E[x]^2 loses a factor of mean^2 / variance, 1.3e5, over 2^-53.
    EXPECT_NEAR(exact(), y[1], variance == NC_VARIANCE_SUM_OF_SQUARES ? 1e-10 : 1e-13) << variance;
  }
}

TEST_F(OneFlowPair, InFloat32TwoPassAndWelfordAreRight) {
  for (const int32_t variance : {NC_VARIANCE_TWO_PASS, NC_VARIANCE_WELFORD}) {
    const std::vector<double> y = normalised(NC_FLOAT32, NC_COMPUTE_FLOAT32, variance);
    // The mean's last place is 1.2e-7, of which half is 1.2e-5 of the distance to it.
    EXPECT_NEAR(-0.845427, y[0], 2e-5) << variance;
    EXPECT_NEAR(0.845427, y[1], 2e-5) << variance;
  }
}

TEST_F(OneFlowPair, InFloat32TheSumOfSquaresIsNot) {
  const std::vector<double> y = normalised(NC_FLOAT32, NC_COMPUTE_FLOAT32, NC_VARIANCE_SUM_OF_SQUARES);
  // The variance, 2.5e-5, is a difference of numbers near 3.4 with a last place of 2.4e-7: right to about one per cent.
  EXPECT_GT(std::fabs(y[1] - 0.845427), 1e-4);
  EXPECT_LT(std::fabs(y[1] - 0.845427), 2e-2);
}

}  // namespace
