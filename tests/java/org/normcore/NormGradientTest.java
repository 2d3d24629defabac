package org.normcore;

import static org.junit.jupiter.api.Assertions.fail;
import static org.normcore.DType.FLOAT64;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/**
 * Gradients against central differences of the forward, everything in float64.
 *
 * <p>With steps of 1e-5 the differences are exact to about 1e-10 (the step squared) plus 1e-11 (the
 * rounding of the loss, some 1e-16 of a few units, over the step): a tolerance of 1e-7 leaves room
 * for the higher derivatives; a wrong term causes an error of 1e-2 and more.
 */
class NormGradientTest {
  private static final double STEP = 1e-5;
  private static final double TOLERANCE = 1e-7;

  @ParameterizedTest
  @EnumSource
  void matchesCentralDifferences(NormKind kind) {
    long seed = 0;
    for (VarianceAlgorithm variance : VarianceAlgorithm.values()) {
      for (ScaleRounding rounding : ScaleRounding.values()) {
        for (GammaOffset offset : GammaOffset.values()) {
          for (Affine affine : Affine.values()) {
            for (boolean residual : new boolean[] {false, true}) {
              int n = seed % 2 == 0 ? 5 : 19;
              NormPolicy policy =
                  NormPolicy.builder(rounding)
                      .gammaOffset(offset)
                      .variance(variance)
                      .compute(ComputeType.FLOAT64)
                      .residualRounding(ResidualRounding.values()[(int) (seed % 2)])
                      .build();
              try (Norm norm =
                      NormTensors.builder(kind, n, FLOAT64, FLOAT64, affine, policy).build();
                  NormTensors t = new NormTensors(norm, 3, residual, Layout.DENSE, ++seed)) {
                check(norm, t, norm + (residual ? " with residual" : "") + ", seed " + seed);
              }
            }
          }
        }
      }
    }
  }

  private static void check(Norm norm, NormTensors t, String what) {
    t.run();
    double[] dx = t.dx.toDoubles();
    compare(norm, t, t.x, dx, what + " dx");
    if (t.residual != null) {
      compare(norm, t, t.residual, dx, what + " dx of the residual");
    }
    if (t.weight != null) {
      compare(norm, t, t.weight, t.dweight.toDoubles(), what + " dweight");
    }
    if (t.bias != null) {
      compare(norm, t, t.bias, t.dbias.toDoubles(), what + " dbias");
    }
  }

  private static void compare(
      Norm norm, NormTensors t, TensorView varied, double[] gradient, String what) {
    double[] values = varied.toDoubles();
    for (int i = 0; i < values.length; i++) {
      double value = values[i];
      values[i] = value + STEP;
      double above = loss(norm, t, varied.copyFrom(values));
      values[i] = value - STEP;
      double below = loss(norm, t, varied.copyFrom(values));
      values[i] = value;
      double difference = (above - below) / (2 * STEP);
      if (!(Math.abs(difference - gradient[i]) <= TOLERANCE * (1 + Math.abs(gradient[i])))) {
        fail("%s[%d]: %s, by differences %s".formatted(what, i, gradient[i], difference));
      }
    }
    varied.copyFrom(values);
  }

  /** The loss with the gradients dy and dresidual: sum(y * dy) + sum(residualOut * dresidual). */
  private static double loss(Norm norm, NormTensors t, TensorView varied) {
    norm.infer(t.operands());
    double loss = dot(t.y, t.dy);
    return t.residual == null ? loss : loss + dot(t.residualOut, t.dresidual);
  }

  private static double dot(TensorView a, TensorView b) {
    double[] left = a.toDoubles();
    double[] right = b.toDoubles();
    double sum = 0;
    for (int i = 0; i < left.length; i++) {
      sum += left[i] * right[i];
    }
    return sum;
  }
}
