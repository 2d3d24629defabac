package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.Arena;
import org.normcore.testing.Reference;
import org.normcore.testing.Values;

/** The variance algorithms on values whose mean is large relative to their spread. */
class NormVarianceTest {
  private static final double EPSILON = 1e-5;

  /** The tolerance of the mean of these rows, in float32 units in the last place. */
  private static final int MEAN_UNITS = 1;

  private record Result(double[] y, double mean) {}

  private static double[] normalise(double[] x, VarianceAlgorithm variance, ComputeType compute) {
    return forward(x, variance, compute).y;
  }

  private static Result forward(double[] x, VarianceAlgorithm variance, ComputeType compute) {
    NormPolicy policy = NormPolicy.PYTORCH.toBuilder().variance(variance).compute(compute).build();
    try (Arena arena = new Arena();
        LayerNorm norm =
            LayerNorm.builder(x.length)
                .epsilon(EPSILON)
                .input(FLOAT32)
                .output(FLOAT64)
                .affine(Affine.NONE)
                .policy(policy)
                .build()) {
      TensorView y = arena.tensor(FLOAT64, 1, x.length);
      try (Saved saved = norm.forward(arena.tensor(FLOAT32, x, 1, x.length), null, null, y)) {
        return new Result(y.toDoubles(), saved.mean().toDoubles()[0]);
      }
    }
  }

  private static double largestDistance(double[] a, double[] b) {
    double largest = 0;
    for (int i = 0; i < a.length; i++) {
      largest = Math.max(largest, Math.abs(a[i] - b[i]));
    }
    return largest;
  }

  private static double[] floats(double[] values) {
    double[] rounded = new double[values.length];
    for (int i = 0; i < values.length; i++) {
      rounded[i] = (float) values[i];
    }
    return rounded;
  }

  private static double[] exact(double[] x) {
    return Reference.forward(
            NormKind.LAYER_NORM, x.length, EPSILON, GammaOffset.NONE, x, null, null)
        .y();
  }

  /**
   * The two values of a OneFlow bug report. In float32 the error of the mean is half a unit in the
   * last place, 6e-8, which is 1.2e-5 of x - mean; the two sums of squares lose 1.2e-7 of a
   * variance of 2.5e-5.
   */
  @Test
  void oneFlowPair() {
    double[] x = floats(new double[] {-1.83965693, -1.82964566});
    double[] exact = exact(x);
    assertEquals(-0.845427, exact[0], 5e-7);
    assertEquals(0.845427, exact[1], 5e-7);
    for (VarianceAlgorithm variance : VarianceAlgorithm.values()) {
      double[] wide = normalise(x, variance, ComputeType.FLOAT64);
      assertTrue(largestDistance(exact, wide) < 1e-10, variance + " in float64: " + wide[0]);
      double distance = largestDistance(exact, normalise(x, variance, ComputeType.FLOAT32));
      if (variance == VarianceAlgorithm.SUM_OF_SQUARES) {
        assertEquals(2.58e-3, distance, 1e-4, "the error of that algorithm, on all machines");
      } else {
        assertTrue(distance < 1.3e-5, variance + " in float32 is off by " + distance);
      }
    }
  }

  /**
   * A mean 10^4 times the spread. Half a unit in the last place of a float32 mean of 10^4 is 5e-4
   * of the spread: the tolerance of an accurate algorithm.
   */
  @Test
  void meanFarFromZero() {
    double[] x = floats(Values.normal(1, 4096, 1e4, 1));
    double[] exact = exact(x);
    for (VarianceAlgorithm variance : VarianceAlgorithm.values()) {
      double wide = largestDistance(exact, normalise(x, variance, ComputeType.FLOAT64));
      assertTrue(wide < 1e-6, variance + " in float64 is off by " + wide);
      double single = largestDistance(exact, normalise(x, variance, ComputeType.FLOAT32));
      if (variance == VarianceAlgorithm.SUM_OF_SQUARES) {
        assertTrue(single > 1, "lost digits were expected, not a distance of " + single);
      } else {
        assertTrue(single < 6e-4, variance + " in float32 is off by " + single);
      }
    }
  }

  /**
   * A constant row has variance 0, so y is 0 where the mean is the constant: always under Welford,
   * whose deviations from the first value are 0, and under the others where the sums are exact, as
   * they are in float32 for 16-bit constants. Otherwise the error of the mean may be a unit in the
   * last place. If the constant is large, epsilon is small relative to the square of that error,
   * and y is any value below 1.
   */
  @ParameterizedTest
  @EnumSource
  void constantRows(VarianceAlgorithm variance) {
    for (ComputeType compute : ComputeType.values()) {
      for (float constant : new float[] {0, 1, -3.25f, 65504, 1e-20f, 1e10f, 65504.7f, -0.1f}) {
        float significand = Math.scalb(constant, 10 - Math.getExponent(constant));
        boolean exactSums = compute == ComputeType.FLOAT64 || significand == Math.rint(significand);
        for (int n : new int[] {1, 2, 8, 31, 999, 4096}) {
          boolean exact = exactSums || variance == VarianceAlgorithm.WELFORD;
          assertConstantRow(constant, n, variance, compute, exact);
        }
      }
    }
  }

  private static void assertConstantRow(
      float constant, int n, VarianceAlgorithm variance, ComputeType compute, boolean exact) {
    double[] x = new double[n];
    Arrays.fill(x, constant);
    String what = n + " times " + constant + ", " + variance + " in " + compute;
    Result result = forward(x, variance, compute);
    double error = Math.abs(constant - result.mean);
    double bound = exact ? 0 : MEAN_UNITS * Math.ulp(constant);
    assertTrue(error <= bound, what + ": mean " + result.mean);
    if (exact) {
      assertEquals(0, largestDistance(new double[n], result.y), what);
    } else if (variance == VarianceAlgorithm.TWO_PASS) {
      double y = (constant - result.mean) / Math.sqrt(error * error + EPSILON);
      double[] expected = new double[n];
      Arrays.fill(expected, y);
      double distance = largestDistance(expected, result.y);
      assertTrue(distance <= 1e-6 * Math.abs(y), what + ": " + result.y[0] + ", not " + y);
    }
  }
}
