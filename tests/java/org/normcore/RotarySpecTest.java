package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.normcore.testing.Exact;

/** Frequencies against decimal arithmetic, and invalid specs. */
class RotarySpecTest {
  private static final BigDecimal ONE = BigDecimal.ONE;

  private static BigDecimal divide(BigDecimal a, BigDecimal b) {
    return a.divide(b, Exact.DIGITS);
  }

  private static BigDecimal of(double value) {
    return Exact.of(value);
  }

  private static BigDecimal clamp(BigDecimal a) {
    return a.max(BigDecimal.ZERO).min(ONE);
  }

  /** The formulas of the scalings in decimal numbers of 60 digits. */
  private static BigDecimal[] truth(RotarySpec spec, long length) {
    int dim = spec.rotaryDim();
    BigDecimal[] w = new BigDecimal[dim / 2];
    BigDecimal theta = of(spec.theta());
    RotaryScaling scaling = spec.scaling();
    if (scaling instanceof RotaryScaling.DynamicNtk s && length > s.originalMaxPositions()) {
      BigDecimal growth =
          of(s.factor())
              .multiply(BigDecimal.valueOf(length))
              .divide(BigDecimal.valueOf(s.originalMaxPositions()), Exact.DIGITS)
              .subtract(of(s.factor()).subtract(ONE));
      theta = theta.multiply(Exact.pow(growth, Exact.ratio(dim, dim - 2)), Exact.DIGITS);
    }
    BigDecimal log = Exact.ln(theta);
    for (int i = 0; i < w.length; i++) {
      BigDecimal exponent = Exact.ratio(-2.0 * i, dim);
      w[i] = scaled(scaling, Exact.exp(log.multiply(exponent)), i, dim, log, length);
    }
    return w;
  }

  private static BigDecimal scaled(
      RotaryScaling scaling, BigDecimal w, int i, int dim, BigDecimal log, long length) {
    if (scaling instanceof RotaryScaling.Linear s) {
      return divide(w, of(s.factor()));
    } else if (scaling instanceof RotaryScaling.Llama3 s) {
      BigDecimal turns =
          divide(
              w.multiply(BigDecimal.valueOf(s.originalMaxPositions())), Exact.PI.multiply(of(2)));
      BigDecimal low = of(s.lowFreqFactor());
      BigDecimal smooth = clamp(divide(turns.subtract(low), of(s.highFreqFactor()).subtract(low)));
      return divide(w.multiply(ONE.subtract(smooth)), of(s.factor())).add(w.multiply(smooth));
    } else if (scaling instanceof RotaryScaling.Yarn s) {
      BigDecimal low = pair(s, s.betaFast(), dim, log);
      BigDecimal high = pair(s, s.betaSlow(), dim, log);
      if (s.truncate()) {
        low = of(Math.floor(low.doubleValue()));
        high = of(Math.ceil(high.doubleValue()));
      }
      low = low.max(BigDecimal.ZERO);
      high = high.min(BigDecimal.valueOf(dim - 1));
      BigDecimal width = high.compareTo(low) == 0 ? new BigDecimal("0.001") : high.subtract(low);
      BigDecimal ramp = clamp(divide(BigDecimal.valueOf(i).subtract(low), width));
      return divide(w.multiply(ramp), of(s.factor())).add(w.multiply(ONE.subtract(ramp)));
    } else if (scaling instanceof RotaryScaling.LongRope s) {
      boolean isLong = length > s.originalMaxPositions();
      return divide(w, of((isLong ? s.longFactor() : s.shortFactor()).get(i)));
    } else if (scaling instanceof RotaryScaling.Proportional s) {
      return i < s.rotatingPairs() ? divide(w, of(s.factor())) : BigDecimal.ZERO;
    } else if (scaling instanceof RotaryScaling.Given s) {
      return of(s.inverseFrequencies().get(i));
    }
    return w;
  }

  private static BigDecimal pair(RotaryScaling.Yarn s, double turns, int dim, BigDecimal log) {
    BigDecimal wavelength =
        divide(
            BigDecimal.valueOf(s.originalMaxPositions()),
            of(turns).multiply(of(2)).multiply(Exact.PI));
    return divide(BigDecimal.valueOf(dim).multiply(Exact.ln(wavelength)), log.multiply(of(2)));
  }

  record Case(RotarySpec spec, long length) {}

  static Stream<Case> cases() {
    double[] shortFactor = IntStream.range(0, 48).mapToDouble(i -> 1 + 0.02 * i).toArray();
    double[] longFactor = IntStream.range(0, 48).mapToDouble(i -> 1.05 + 1.2 * i).toArray();
    List<RotaryScaling> scalings =
        List.of(
            RotaryScaling.plain(),
            RotaryScaling.linear(8),
            RotaryScaling.linear(2.5),
            RotaryScaling.dynamicNtk(1, 2048),
            RotaryScaling.dynamicNtk(2.3, 4096),
            RotaryScaling.llama3(8, 1, 4, 8192),
            RotaryScaling.llama3(32, 1, 4, 8192),
            RotaryScaling.llama3(4, 2, 2.5, 1000),
            RotaryScaling.yarn(4, 32768),
            RotaryScaling.Yarn.builder(40, 4096).mscale(1.0, 1.0).build(),
            RotaryScaling.Yarn.builder(16, 8192).betas(8, 2).truncate(false).build(),
            RotaryScaling.Yarn.builder(2, 100).betas(4, 4).build(),
            // A range that is empty at a whole pair, and one that ends beyond the last.
            RotaryScaling.Yarn.builder(2, 100).betas(9.851, 11.935).build(),
            RotaryScaling.yarn(4, 1L << 33),
            RotaryScaling.longRope(shortFactor, longFactor, 4096, 131072),
            RotaryScaling.proportional(1, 12),
            RotaryScaling.proportional(8, 48),
            RotaryScaling.given(longFactor));
    List<Case> all = new ArrayList<>();
    for (RotaryScaling scaling : scalings) {
      for (double theta : new double[] {10_000, 500_000, 1e6, 150_000.5}) {
        RotarySpec spec = RotarySpec.builder(96).theta(theta).scaling(scaling).build();
        all.add(new Case(spec, 1));
        if (spec.dependsOnLength()) {
          for (long length : new long[] {2048, 4096, 4097, 100_000, 1L << 40}) {
            all.add(new Case(spec, length));
          }
        }
      }
    }
    for (int dim : new int[] {4, 30, 64, 128, 256}) {
      all.add(new Case(RotarySpec.builder(dim).build(), 1));
      all.add(new Case(RotarySpec.builder(256).rotaryDim(dim).theta(25.5).build(), 1));
    }
    return all.stream();
  }

  /**
   * Plain float64 frequencies are a power, accurate to slightly more than one unit of 2^-53, and a
   * product. Divisors add one or two units. With dynamic NTK the logarithm of theta's growth, up to
   * 21, multiplies the rounding of its exponent. Where Llama 3 and YaRN interpolate, the weight of
   * the plain frequency is a difference with an error of up to 20 units, which the factor, up to
   * 40, multiplies if that weight is near 0.
   *
   * <p>Float32 has units of 2^-24 and the operations of transformers: the exponent's rounding is
   * multiplied with ln(theta), at most 14 here, or with that of its growth too.
   */
  @ParameterizedTest
  @MethodSource("cases")
  void frequenciesAreAccurate(Case c) {
    BigDecimal[] truth = truth(c.spec, c.length);
    double[] wide = c.spec.inverseFrequencies(c.length);
    float[] narrow = c.spec.inverseFrequenciesInFloat32(c.length);
    boolean blended =
        c.spec.scaling() instanceof RotaryScaling.Llama3
            || c.spec.scaling() instanceof RotaryScaling.Yarn;
    boolean grown = c.spec.scaling() instanceof RotaryScaling.DynamicNtk;
    double units = blended ? 800 : grown ? 30 : 4;
    double narrowUnits = blended ? 800 : grown ? 60 : 20;
    assertEquals(truth.length, wide.length);
    for (int i = 0; i < truth.length; i++) {
      assertEquals(0, relative(wide[i], truth[i]), units * 0x1p-53, "pair " + i);
      assertEquals(0, relative(narrow[i], truth[i]), narrowUnits * 0x1p-24, "float32, pair " + i);
    }
  }

  private static double relative(double value, BigDecimal truth) {
    return truth.signum() == 0 ? value : divide(of(value).subtract(truth), truth).doubleValue();
  }

  private static RotaryScaling.Yarn.Builder yarn() {
    return RotaryScaling.Yarn.builder(40, 4096);
  }

  @Test
  void yarnBuilderSetsEachComponentOnce() {
    assertEquals(RotaryScaling.yarn(40, 4096), yarn().build());
    assertEquals(new RotaryScaling.Yarn(40, 4096, 32, 1, null, null, null, true), yarn().build());
    assertEquals(
        new RotaryScaling.Yarn(40, 4096, 8, 2, 1.5, 0.7, 0.5, false),
        yarn().betas(8, 2).attentionFactor(1.5).mscale(0.7, 0.5).truncate(false).build());
  }

  @Test
  void attentionScaling() {
    RotarySpec.Builder builder = RotarySpec.builder(64);
    double ln40 = Exact.ln(of(40)).doubleValue();
    assertScaling(1, builder, RotaryScaling.plain());
    assertScaling(1, builder, RotaryScaling.linear(4));
    assertScaling(1, builder, RotaryScaling.llama3(8, 1, 4, 8192));
    assertScaling(1, builder, RotaryScaling.dynamicNtk(8, 4));
    assertScaling(0.1 * ln40 + 1, builder, RotaryScaling.yarn(40, 4096));
    assertScaling(1, builder, yarn().mscale(0.7, 0.7).build());
    assertScaling((0.1 * ln40 + 1) / (0.05 * ln40 + 1), builder, yarn().mscale(1.0, 0.5).build());
    assertScaling(0.1 * ln40 + 1, builder, yarn().mscale(1.0, 0.0).build());
    assertScaling(0.1 * ln40 + 1, builder, yarn().mscale(2.0, null).build());
    assertScaling(1.25, builder, yarn().mscale(1.0, 0.5).attentionFactor(1.25).build());
    assertScaling(
        0.1 * ln40 + 1, builder, yarn().attentionFactor(1.25).attentionFactor(null).build());
    assertScaling(1, builder, RotaryScaling.yarn(0.5, 4096));
    double[] ones = new double[32];
    Arrays.fill(ones, 1);
    RotaryScaling.LongRope rope = RotaryScaling.longRope(ones, ones, 4096, 131072);
    // ln(32) / ln(4096) = 5/12
    assertScaling(Math.sqrt(1 + 5.0 / 12), builder, rope);
    assertScaling(1, builder, RotaryScaling.longRope(ones, ones, 4096, 4096));
    assertScaling(1, builder, RotaryScaling.longRope(ones, ones, 4096, 2048));
    assertScaling(1.19, builder, rope.attentionFactor(1.19));
    assertScaling(1, builder, RotaryScaling.given(ones));
    assertScaling(0.5, builder, RotaryScaling.given(ones).attentionFactor(0.5));
  }

  private static void assertScaling(
      double expected, RotarySpec.Builder builder, RotaryScaling scaling) {
    RotarySpec spec = builder.scaling(scaling).build();
    assertEquals(expected, spec.attentionScaling(), expected * 4 * 0x1p-53, scaling.toString());
  }

  @Test
  void givenFrequenciesSetTheRotaryDim() {
    float[] buffer = {1, 0.1f, 0.01f};
    RotarySpec spec = RotarySpec.builder(16).scaling(RotaryScaling.given(buffer)).build();
    assertEquals(16, spec.headDim());
    assertEquals(6, spec.rotaryDim());
    assertArrayEquals(buffer, spec.inverseFrequenciesInFloat32());
    assertArrayEquals(new double[] {1, 0.1f, 0.01f}, spec.inverseFrequencies());
    buffer[0] = 7;
    assertEquals(1, spec.inverseFrequencies()[0]);
    spec.inverseFrequencies()[0] = 8;
    assertEquals(1, spec.inverseFrequencies()[0]);
  }

  @Test
  void valuesAreComparedByContents() {
    RotarySpec a = RotarySpec.builder(64).theta(1e6).scaling(RotaryScaling.yarn(4, 100)).build();
    RotarySpec b = RotarySpec.builder(64).theta(1e6).scaling(RotaryScaling.yarn(4, 100)).build();
    assertEquals(a, b);
    assertEquals(a.hashCode(), b.hashCode());
    assertEquals(a.toString(), b.toString());
    assertNotEquals(a, RotarySpec.builder(64).scaling(RotaryScaling.yarn(4, 100)).build());
    assertNotEquals(a, RotarySpec.builder(64).theta(1e6).build());
    assertNotEquals(
        a, RotarySpec.builder(64).rotaryDim(32).theta(1e6).scaling(a.scaling()).build());
    assertNotEquals(a, null);
    double[] list = {1, 2};
    assertEquals(RotaryScaling.given(list), RotaryScaling.given(new float[] {1, 2}));
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void wrongArgumentsAreRefused() {
    assertRefused(() -> RotarySpec.builder(1), "headDim: 1", "2 to 65536");
    assertRefused(() -> RotarySpec.builder(65537), "headDim: 65537");
    assertRefused(() -> RotarySpec.builder(64).rotaryDim(66), "rotaryDim: 66", "64");
    assertRefused(() -> RotarySpec.builder(64).rotaryDim(7), "rotaryDim: 7", "even");
    assertRefused(() -> RotarySpec.builder(64).rotaryDim(0), "rotaryDim: 0");
    assertRefused(() -> RotarySpec.builder(7).build(), "headDim: 7", "even", "explicit rotaryDim");
    assertEquals(6, RotarySpec.builder(7).rotaryDim(6).build().rotaryDim());
    for (double theta : new double[] {0, -1, Double.NaN, Double.POSITIVE_INFINITY}) {
      assertRefused(() -> RotarySpec.builder(64).theta(theta), "theta: " + theta, "positive");
    }
    assertRefused(() -> RotarySpec.builder(64).theta(5e-324).build(), "theta: 4.9E-324", "pair 31");
    for (double factor : new double[] {0, -2, Double.NaN, Double.POSITIVE_INFINITY}) {
      assertRefused(() -> RotaryScaling.linear(factor), "factor: " + factor);
      assertRefused(() -> RotaryScaling.dynamicNtk(factor, 10), "factor: " + factor);
      assertRefused(() -> RotaryScaling.llama3(factor, 1, 4, 8), "factor: " + factor);
      assertRefused(() -> RotaryScaling.llama3(8, factor, 4, 8), "lowFreqFactor: " + factor);
      assertRefused(() -> RotaryScaling.llama3(8, 1, factor, 8), "highFreqFactor: " + factor);
      assertRefused(() -> RotaryScaling.yarn(factor, 8), "factor: " + factor);
      assertRefused(() -> yarn().betas(factor, 1).build(), "betaFast: " + factor);
      assertRefused(() -> yarn().betas(32, factor).build(), "betaSlow: " + factor);
      assertRefused(() -> RotaryScaling.proportional(factor, 8), "factor: " + factor);
      assertRefused(
          () -> RotaryScaling.longRope(new double[] {1, factor}, new double[2], 8, 16),
          "shortFactor[1]: " + factor);
    }
    assertRefused(() -> RotaryScaling.dynamicNtk(0.5, 10), "factor: 0.5", "at least 1");
    assertRefused(() -> RotaryScaling.llama3(8, 4, 4, 8), "highFreqFactor: 4.0", "4.0");
    assertRefused(() -> RotaryScaling.llama3(8, 1, 4, 0), "originalMaxPositions: 0");
    assertRefused(() -> RotaryScaling.dynamicNtk(2, 0), "originalMaxPositions: 0");
    assertRefused(() -> RotaryScaling.yarn(2, -5), "originalMaxPositions: -5");
    assertRefused(() -> yarn().attentionFactor(-0.5).build(), "attentionFactor: -0.5");
    assertRefused(() -> yarn().mscale(Double.NaN, 1.0).build(), "mscale: NaN");
    double[] two = {1, 1};
    assertRefused(
        () -> RotaryScaling.longRope(two, new double[] {1}, 8, 16), "longFactor: 1 numbers", "2");
    assertRefused(() -> RotaryScaling.longRope(two, two, 0, 16), "originalMaxPositions: 0");
    assertRefused(() -> RotaryScaling.longRope(two, two, 8, 0), "maxPositions: 0");
    assertRefused(() -> RotaryScaling.proportional(1, 0), "rotatingPairs: 0");
    assertRefused(() -> RotaryScaling.given(new double[0]), "inverseFrequencies: none");
    assertRefused(
        () -> RotaryScaling.given(new float[] {1, Float.NaN}), "inverseFrequencies[1]: NaN");
    assertRefused(() -> RotaryScaling.given(two).attentionFactor(Double.NaN), "NaN");
    RotarySpec.Builder builder = RotarySpec.builder(8);
    assertRefused(
        () -> builder.scaling(RotaryScaling.longRope(two, two, 8, 16)).build(),
        "shortFactor: 2 numbers",
        "expected 4");
    assertRefused(
        () -> builder.scaling(RotaryScaling.given(new double[5])).build(), "rotaryDim: 10");
    assertRefused(
        () -> RotarySpec.builder(8).rotaryDim(8).scaling(RotaryScaling.given(two)).build(),
        "inverseFrequencies: 2 numbers",
        "4");
    assertRefused(
        () -> builder.scaling(RotaryScaling.proportional(1, 5)).build(), "rotatingPairs: 5", "4");
    assertRefused(
        () -> RotarySpec.builder(2).scaling(RotaryScaling.dynamicNtk(2, 8)).build(),
        "rotaryDim: 2");
    assertRefused(
        () -> RotarySpec.builder(8).theta(1).scaling(RotaryScaling.yarn(2, 8)).build(),
        "theta: 1.0");
    RotarySpec spec = RotarySpec.builder(8).build();
    assertRefused(() -> spec.inverseFrequencies(-1), "sequenceLength: -1");
    assertRefused(() -> spec.inverseFrequenciesInFloat32(-1), "sequenceLength: -1");
  }

  @ParameterizedTest
  @ValueSource(doubles = {1e-40, 1e300})
  void frequenciesBeyondFloat32AreRefusedInFloat32Only(double theta) {
    RotarySpec spec = RotarySpec.builder(64).theta(theta).build();
    assertEquals(32, spec.inverseFrequencies().length);
    if (theta < 1) {
      assertRefused(spec::inverseFrequenciesInFloat32, "FLOAT32", "Infinity");
    } else {
      // A theta that is too large gives angles of 0, as in transformers.
      assertEquals(0, spec.inverseFrequenciesInFloat32()[31]);
    }
  }
}
