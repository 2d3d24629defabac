// Gradients against central differences of the forward, everything in float64.
//
// With a step of 2^-17 the difference's error is about step^2 / 6 times a third derivative of a few units, 1e-10, plus
// the forward's rounding over the step, 1e-11: the tolerance of 1e-8 is a hundred times that.

#include <gtest/gtest.h>

#include "support/harness.h"

namespace {

using namespace harness;
using reference::format;

constexpr double kStep = 0x1p-17, kTolerance = 1e-8;
const reference::Format& f64 = format(NC_FLOAT64);

double valueOf(uint64_t bits) { return reference::decode(f64, bits); }

// sum(y * dy) + sum(residual_out * dresidual): the backward computes its gradients.
double loss(const Case& c, const Data& d) {
  Form form;
  form.saves = false;
  const Result result = run(c, d, form);
  double sum = 0;
  for (size_t i = 0; i < d.dy.size(); ++i) sum += valueOf(result.y[i]) * valueOf(d.dy[i]);
  for (size_t i = 0; i < d.dresidual.size(); ++i) sum += valueOf(result.residual_out[i]) * valueOf(d.dresidual[i]);
  return sum;
}

void expectGradient(const Case& c, const Data& data, Bits Data::*input, const Bits& gradient, const char* name) {
  Data moved = data;
  for (size_t i = 0; i < (data.*input).size(); ++i) {
    const double at = valueOf((data.*input)[i]);
    (moved.*input)[i] = reference::encode(f64, at + kStep);
    const double above = loss(c, moved);
    (moved.*input)[i] = reference::encode(f64, at - kStep);
    const double below = loss(c, moved);
    (moved.*input)[i] = (data.*input)[i];
    EXPECT_NEAR((above - below) / (2 * kStep), valueOf(gradient[i]), kTolerance)
        << c.describe() << " " << name << " " << i;
  }
}

TEST(Gradients, MatchCentralDifferences) {
  uint64_t seed = 40;
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    for (int32_t affine = 0; affine < 4; ++affine) {
      for (int32_t offset = 0; offset < 3; ++offset) {
        for (int32_t variance = 0; variance < (op == NC_LAYER_NORM ? 3 : 1); ++variance) {
          for (int32_t rounding = 0; rounding < 3; ++rounding) {  // in float64 no policy rounds
            Case c;
            c.spec = makeSpec(op, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, 11);
            c.spec.affine = affine;
            c.spec.gamma_offset = offset;
            c.spec.variance = variance;
            c.spec.scale_rounding = rounding;
            c.spec.compute = NC_COMPUTE_FLOAT64;
            c.residual = c.dresidual = rounding != NC_ROUND_COMPUTE;
            c.rows = 3;
            c.dweight_dtype = c.dbias_dtype = NC_FLOAT64;
            const Data data = draw(c, ++seed);
            const Result result = run(c, data);
            SCOPED_TRACE("seed " + std::to_string(seed));
            expectGradient(c, data, &Data::x, result.dx, "dx");
            if (c.residual) expectGradient(c, data, &Data::residual, result.dx, "dx of the residual");
            if (c.hasWeight()) expectGradient(c, data, &Data::weight, result.dweight, "dweight");
            if (c.hasBias()) expectGradient(c, data, &Data::bias, result.dbias, "dbias");
            if (HasFailure()) return;
          }
        }
      }
    }
  }
}

}  // namespace
