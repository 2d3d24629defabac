package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.normcore.RotaryScaling;
import org.normcore.RotarySpec;

class ExactRotaryTest {
  /** Digits from published tables; 45 of them must agree. */
  private static void assertDigits(String expected, BigDecimal actual) {
    BigDecimal difference = new BigDecimal(expected).subtract(actual).abs();
    BigDecimal allowed = new BigDecimal(expected).abs().movePointLeft(45);
    assertTrue(difference.compareTo(allowed) < 0, expected + ", but was " + actual);
  }

  @Test
  void functionsHaveTheirKnownDigits() {
    assertDigits("3.14159265358979323846264338327950288419716939937510582097494459", ExactMath.PI);
    assertDigits(
        "2.71828182845904523536028747135266249775724709369995957496696763",
        ExactMath.exp(BigDecimal.ONE));
    assertDigits(
        "0.69314718055994530941723212145817656807550013436025525412068001",
        ExactMath.ln(BigDecimal.valueOf(2)));
    assertDigits(
        "2.30258509299404568401799145468436420760110148862877297603332790",
        ExactMath.ln(BigDecimal.TEN));
    assertDigits("0.01", ExactMath.pow(BigDecimal.valueOf(10_000), new BigDecimal("-0.5")));
    assertDigits("1024", ExactMath.pow(BigDecimal.valueOf(2), BigDecimal.TEN));
    assertDigits(
        "1.41421356237309504880168872420969807856967187537694807317667973",
        ExactMath.pow(BigDecimal.valueOf(2), new BigDecimal("0.5")));
  }

  @Test
  void remaindersDropWholeTurnsOnly() {
    // Java's own sines reduce any float64 angle exactly; the remainder here is rounded once, by at
    // most 2^-52.
    for (long angle : new long[] {0, 1, 3, 4, 355, 131_071, 1L << 40, (1L << 40) - 1}) {
      double rest = ExactMath.remainder(BigDecimal.valueOf(angle));
      assertTrue(Math.abs(rest) <= Math.PI);
      assertEquals(StrictMath.sin(angle), StrictMath.sin(rest), 5e-16, "sine of " + angle);
      assertEquals(StrictMath.cos(angle), StrictMath.cos(rest), 5e-16, "cosine of " + angle);
    }
  }

  /**
   * Two evaluations of the same formulas: the library's float64 result agrees to its last places.
   */
  @Test
  void frequenciesOfAllScalings() {
    double[] factors = new double[32];
    double[] longer = new double[32];
    for (int i = 0; i < 32; i++) {
      factors[i] = 1 + i / 16.0;
      longer[i] = 1 + i;
    }
    List<RotaryScaling> scalings =
        List.of(
            RotaryScaling.plain(),
            RotaryScaling.linear(4),
            RotaryScaling.dynamicNtk(2, 2048),
            RotaryScaling.llama3(8, 1, 4, 8192),
            RotaryScaling.yarn(4, 4096),
            RotaryScaling.longRope(factors, longer, 4096, 131_072),
            RotaryScaling.proportional(2, 16),
            RotaryScaling.given(factors));
    for (RotaryScaling scaling : scalings) {
      RotarySpec spec = RotarySpec.builder(64).theta(500_000).scaling(scaling).build();
      for (long length : new long[] {1, 100_000}) {
        ExactRotary exact = new ExactRotary(spec, length);
        double[] expected = spec.inverseFrequencies(length);
        assertEquals(32, exact.pairs());
        for (int i = 0; i < 32; i++) {
          double w = exact.frequency(i).doubleValue();
          assertEquals(expected[i], w, Math.abs(expected[i]) * 1e-14, scaling + ", pair " + i);
        }
      }
    }
  }

  @Test
  void rowsMatchCosAndSinOfAngles() {
    ExactRotary exact = new ExactRotary(RotarySpec.builder(8).theta(10_000).build(), 1);
    ExactRotary.Row row = exact.row(1234);
    double[] frequencies = {1, 0.1, 0.01, 0.001};
    for (int i = 0; i < 4; i++) {
      assertEquals(StrictMath.cos(1234 * frequencies[i]), row.cos()[i], 1e-12);
      assertEquals(StrictMath.sin(1234 * frequencies[i]), row.sin()[i], 1e-12);
    }
  }
}
