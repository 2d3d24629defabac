package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.lang.reflect.Executable;
import java.lang.reflect.Modifier;
import java.math.BigDecimal;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.normcore.testing.Bits;
import org.normcore.testing.Exact;
import org.normcore.testing.RotaryModel;

/** Tables against decimal arithmetic, and their other guarantees. */
class RotaryTableTest {
  private static final DType[] TYPES = {FLOAT32, BFLOAT16, FLOAT16};

  /**
   * Positions where low-precision formats, and float32 at 2^24, map neighbours to one number; and
   * the ends.
   */
  private static final long[] POSITIONS = {
    0,
    1,
    2,
    255,
    256,
    257,
    2047,
    2048,
    2049,
    (1 << 20) - 1,
    1 << 20,
    (1 << 24) - 1,
    (1 << 24) + 1,
    1L << 31,
    (1L << 31) + 1,
    733_007_751_851L,
    999_999_999_989L,
    (1L << 40) - 5,
    (1L << 40) - 1,
    1L << 40
  };

  record Case(RotarySpec spec, DType dtype) {}

  static Stream<Case> cases() {
    // Near 1, where the products of large positions have the largest rounding errors.
    double[] high = IntStream.range(0, 32).mapToDouble(i -> 1 - i / 67.0).toArray();
    List<RotarySpec> specs =
        List.of(
            RotarySpec.builder(128).build(),
            RotarySpec.builder(64)
                .theta(500_000)
                .scaling(RotaryScaling.llama3(8, 1, 4, 8192))
                .build(),
            RotarySpec.builder(32).theta(1e6).scaling(RotaryScaling.yarn(4, 32768)).build(),
            RotarySpec.builder(64).scaling(RotaryScaling.given(high)).build(),
            RotarySpec.builder(8).theta(0.5).build());
    return specs.stream().flatMap(spec -> Arrays.stream(TYPES).map(type -> new Case(spec, type)));
  }

  private static RotaryTable.Builder builder(RotarySpec spec, DType dtype) {
    return RotaryTable.builder(spec).dtype(dtype);
  }

  /**
   * The table is the exact cosine and sine of the exact product of position and frequency, times
   * the attention scaling, rounded once: within half a unit in the last place plus the float64
   * error: a sine and a cosine to one unit of 2^-53 each, two products, a sum and the scaling. None
   * of these values is so close to a midpoint that this changes its rounding.
   */
  @ParameterizedTest
  @MethodSource("cases")
  void float64AnglesAreRoundedOnce(Case c) {
    double scaling = c.spec.attentionScaling();
    double[] w = c.spec.inverseFrequencies();
    try (RotaryTable table = builder(c.spec, c.dtype).positions(POSITIONS)) {
      float[] cos = table.cos().toFloats();
      float[] sin = table.sin().toFloats();
      for (int p = 0; p < POSITIONS.length; p++) {
        for (int i = 0; i < w.length; i++) {
          BigDecimal angle = BigDecimal.valueOf(POSITIONS[p]).multiply(Exact.of(w[i]));
          BigDecimal factor = Exact.of(scaling);
          String what = "position " + POSITIONS[p] + ", pair " + i + ", " + c;
          assertRounded(
              c.dtype, Exact.cos(angle).multiply(factor), cos[p * w.length + i], scaling, what);
          assertRounded(
              c.dtype, Exact.sin(angle).multiply(factor), sin[p * w.length + i], scaling, what);
        }
      }
    }
  }

  private static void assertRounded(
      DType dtype, BigDecimal truth, float actual, double scaling, String what) {
    double ulp = Bits.ulp(dtype, truth.doubleValue());
    double error = Exact.of(actual).subtract(truth).abs().doubleValue();
    assertTrue(error <= ulp / 2 + scaling * 6 * 0x1p-53, what + ": " + error / ulp + " units");
    assertEquals(RotaryModel.rounded(dtype, truth.doubleValue()), actual, what);
  }

  /**
   * The steps of float32: frequency, position and their product are float32 numbers, and cosine and
   * sine of that product are rounded to float32, multiplied there, and then rounded to the dtype.
   */
  @ParameterizedTest
  @MethodSource("cases")
  void float32AnglesAreThoseOfFloat32Steps(Case c) {
    float scaling = (float) c.spec.attentionScaling();
    float[] w = c.spec.inverseFrequenciesInFloat32();
    try (RotaryTable table =
        builder(c.spec, c.dtype).angles(AnglePrecision.FLOAT32).positions(POSITIONS)) {
      float[] cos = table.cos().toFloats();
      float[] sin = table.sin().toFloats();
      for (int p = 0; p < POSITIONS.length; p++) {
        for (int i = 0; i < w.length; i++) {
          BigDecimal angle = Exact.of((float) POSITIONS[p] * w[i]);
          String what = "position " + POSITIONS[p] + ", pair " + i + ", " + c;
          int at = p * w.length + i;
          float cosine = RotaryModel.rounded(FLOAT32, Exact.cos(angle).doubleValue()) * scaling;
          float sine = RotaryModel.rounded(FLOAT32, Exact.sin(angle).doubleValue()) * scaling;
          assertEquals(RotaryModel.rounded(c.dtype, cosine), cos[at], "cos, " + what);
          assertEquals(RotaryModel.rounded(c.dtype, sine), sin[at], "sin, " + what);
        }
      }
    }
  }

  /**
   * The error of the angles, in radians, against exact frequencies of theta. Float32 loses a digit
   * per digit of the position, because the position multiplies the rounding error of the frequency.
   */
  @Test
  void float64AnglesStayAccurateWhereFloat32OnesDoNot() {
    RotarySpec spec = RotarySpec.builder(128).build();
    double[] wide = spec.inverseFrequencies();
    float[] narrow = spec.inverseFrequenciesInFloat32();
    for (long position : POSITIONS) {
      double worst64 = 0;
      double worst32 = 0;
      for (int i = 0; i < wide.length; i++) {
        BigDecimal p = BigDecimal.valueOf(position);
        BigDecimal truth = p.multiply(Exact.pow(Exact.of(10_000), Exact.ratio(-2.0 * i, 128)));
        BigDecimal angle64 = p.multiply(Exact.of(wide[i]));
        BigDecimal angle32 = Exact.of((float) position * narrow[i]);
        worst64 = Math.max(worst64, angle64.subtract(truth).abs().doubleValue());
        worst32 = Math.max(worst32, angle32.subtract(truth).abs().doubleValue());
      }
      // Frequencies up to 1, of one unit in the last place at most: 2^-53.
      assertTrue(worst64 <= position * 0x1p-53, position + ": " + worst64);
      if (position >= 255) {
        assertTrue(worst32 >= position * 0x1p-26, position + ": " + worst32);
      }
    }
  }

  /** Neighbouring positions that coincide in a bfloat16 or float16 range. */
  @ParameterizedTest
  @EnumSource(names = {"FLOAT32", "BFLOAT16", "FLOAT16"})
  void neighboursDiffer(DType dtype) {
    RotarySpec spec = RotarySpec.builder(64).build();
    for (AnglePrecision angles : AnglePrecision.values()) {
      for (long start : new long[] {255, 2047, 70_000, 1 << 23}) {
        try (RotaryTable table = builder(spec, dtype).angles(angles).range(start, 4)) {
          for (int i = 0; i < 3; i++) {
            assertFalse(
                Arrays.equals(
                    table.cos().rows(i, i + 1).toBytes(), table.cos().rows(i + 1, i + 2).toBytes()),
                angles + ", " + (start + i));
          }
        }
      }
    }
  }

  /**
   * Ranges, lists of either type, per-batch lists, slices, one thread or many give the same values.
   */
  @ParameterizedTest
  @EnumSource
  void rowsDependOnThePositionOnly(AnglePrecision angles) {
    RotarySpec spec = RotarySpec.builder(96).rotaryDim(48).build();
    int count = 1500;
    long start = 1000;
    long[] ids = LongStream.range(start, start + count).toArray();
    int[] ints = Arrays.stream(ids).mapToInt(Math::toIntExact).toArray();
    long[][] batches = {Arrays.copyOf(ids, count / 2), Arrays.copyOfRange(ids, count / 2, count)};
    RotaryTable.Builder builder = builder(spec, BFLOAT16).angles(angles);
    try (RotaryTable range = builder.range(start, count);
        RotaryTable single = builder.parallel(false).range(start, count);
        RotaryTable list = builder.positions(ids);
        RotaryTable fromInts = builder.positions(ints);
        RotaryTable perBatch = builder.positions(batches);
        RotaryTable longer = builder.range(0, 3000);
        RotaryTable slice = longer.slice(start, start + count);
        RotaryTable ofList = list.slice(100, 200)) {
      assertArrayEquals(new long[] {count}, range.shape());
      assertArrayEquals(new long[] {count, 24}, range.cos().shape());
      assertArrayEquals(new long[] {2, count / 2}, perBatch.shape());
      assertArrayEquals(new long[] {2, count / 2, 24}, perBatch.sin().shape());
      for (RotaryTable other : List.of(single, list, fromInts, perBatch, slice)) {
        assertArrayEquals(ids, other.positions());
        assertEquals(count, other.rows());
        assertArrayEquals(range.cos().toBytes(), other.cos().toBytes(), other.toString());
        assertArrayEquals(range.sin().toBytes(), other.sin().toBytes(), other.toString());
      }
      assertEquals(start + count, list.sequenceLength());
      assertEquals(3000, slice.sequenceLength());
      assertArrayEquals(Arrays.copyOfRange(ids, 100, 200), ofList.positions());
      assertArrayEquals(Arrays.copyOfRange(ids, 105, 110), ofList.slice(5, 10).positions());
      assertArrayEquals(list.cos().rows(100, 200).toBytes(), ofList.cos().toBytes());
      list.slice(0, 1).close();
      assertTrue(list.isOpen());
      assertEquals(angles, slice.angles());
      assertEquals(spec, slice.spec());
      assertEquals(BFLOAT16, slice.dtype());
      assertEquals(Device.CPU, slice.device());
    }
  }

  @Test
  void positionListIsCopied() {
    long[] ids = {1, 2};
    try (RotaryTable table = builder(RotarySpec.builder(8).build(), FLOAT32).positions(ids)) {
      ids[0] = 7;
      assertArrayEquals(new long[] {1, 2}, table.positions());
      table.positions()[1] = 9;
      assertArrayEquals(new long[] {1, 2}, table.positions());
    }
  }

  /** Scalings that depend on the length use the largest position or the caller's length. */
  @Test
  void lengthFollowsTheLargestPosition() {
    double[] shortFactor = {1, 1.5, 2, 3};
    double[] longFactor = {2, 4, 8, 16};
    RotarySpec longRope =
        RotarySpec.builder(8)
            .scaling(RotaryScaling.longRope(shortFactor, longFactor, 100, 1000))
            .build();
    RotarySpec dynamic = RotarySpec.builder(8).scaling(RotaryScaling.dynamicNtk(2, 100)).build();
    for (RotarySpec spec : List.of(longRope, dynamic)) {
      assertTrue(spec.dependsOnLength());
      for (AnglePrecision angles : AnglePrecision.values()) {
        RotaryTable.Builder builder = builder(spec, FLOAT32).angles(angles);
        try (RotaryTable within = builder.range(0, 100);
            RotaryTable beyond = builder.range(0, 101);
            RotaryTable list = builder.positions(new long[] {100, 3});
            RotaryTable told = builder.sequenceLength(101).range(0, 100);
            RotaryTable capped = builder.sequenceLength(50).range(0, 101)) {
          assertEquals(100, within.sequenceLength());
          assertEquals(101, list.sequenceLength());
          assertEquals(50, capped.sequenceLength());
          assertArrayEquals(within.inverseFrequencies(), capped.inverseFrequencies());
          assertArrayEquals(beyond.inverseFrequencies(), told.inverseFrequencies());
          assertArrayEquals(beyond.inverseFrequencies(), list.inverseFrequencies());
          assertNotEquals(within.inverseFrequencies()[3], beyond.inverseFrequencies()[3]);
          assertArrayEquals(
              beyond.cos().rows(0, 100).toBytes(), told.cos().toBytes(), spec + ", " + angles);
          assertEquals(spec.attentionScaling(), told.attentionScaling());
        }
      }
    }
    assertFalse(RotarySpec.builder(8).build().dependsOnLength());
  }

  @Test
  void emptyTables() {
    RotaryTable.Builder builder = builder(RotarySpec.builder(8).build(), BFLOAT16);
    try (RotaryTable none = builder.range(5, 0);
        RotaryTable list = builder.positions(new long[0]);
        RotaryTable batches = builder.positions(new long[3][0])) {
      assertArrayEquals(new long[] {0, 4}, none.cos().shape());
      assertEquals(0, list.sequenceLength());
      assertArrayEquals(new long[] {3, 0}, batches.shape());
    }
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void wrongPositionsAreRefusedByIndexAndValue() {
    RotaryTable.Builder builder = builder(RotarySpec.builder(8).build(), FLOAT32);
    long beyond = (1L << 40) + 1;
    assertEquals(1L << 40, RotaryTable.MAX_POSITION);
    assertRefused(() -> builder.range(-1, 3), "start: -1", "2^40");
    assertRefused(() -> builder.range(beyond, 1), "start: " + beyond);
    assertRefused(() -> builder.range(0, -1), "count: -1");
    assertRefused(() -> builder.range(1L << 40, 2), "count: 2", "ends at " + beyond);
    assertRefused(() -> builder.range(0, Long.MAX_VALUE), "count: " + Long.MAX_VALUE);
    assertRefused(() -> builder.positions(new long[] {0, 5, -2}), "positions[2]: -2", "0 to 2^40");
    assertRefused(() -> builder.positions(new long[] {beyond}), "positions[0]: " + beyond);
    assertRefused(() -> builder.positions(new int[] {3, -1}), "positions[1]: -1");
    assertRefused(() -> builder.positions(new long[][] {{0, 1}, {2, -3}}), "positions[1][1]: -3");
    assertRefused(
        () -> builder.positions(new long[][] {{0, 1}, {2}}), "positions[1]: 1 positions", "2");
    assertRefused(() -> builder.positions(new long[][] {{0}, null}), "positions[1]: null");
    assertRefused(() -> builder.sequenceLength(-1), "sequenceLength: -1");
    assertRefused(() -> builder.dtype(FLOAT64), "dtype: FLOAT64", "BFLOAT16");
    assertRefused(() -> builder(RotarySpec.builder(8).build(), DType.FLOAT8_E4M3));
    try (RotaryTable table = builder.range(0, 4);
        RotaryTable batches = builder.positions(new long[][] {{0, 1}, {2, 3}})) {
      assertRefused(() -> table.slice(1, 5), "slice: rows 1 to 5", "0 to 4");
      assertRefused(() -> table.slice(-1, 2), "slice: ");
      assertRefused(() -> table.slice(3, 2), "slice: ");
      assertRefused(() -> batches.slice(0, 1), "slice: ", "[2, 2]", "[seq]");
    }
    String message =
        assertThrows(
                IllegalStateException.class,
                () -> RotaryTable.builder(RotarySpec.builder(8).build()).range(0, 1))
            .getMessage();
    assertTrue(message.startsWith("dtype: not set"), message);
  }

  /** Angles that overflow to infinity or NaN. */
  @Test
  void anglesBeyondTheirTypeAreRefused() {
    RotarySpec spec =
        RotarySpec.builder(4).scaling(RotaryScaling.given(new double[] {1e30, 1e300})).build();
    RotaryTable.Builder builder = builder(spec, FLOAT32);
    assertRefused(() -> builder.range(1L << 40, 1), "position 1099511627776", "1.0E300");
    builder.angles(AnglePrecision.FLOAT32);
    assertRefused(() -> builder.range(0, 1), "FLOAT32", "pair 1", "Infinity");
    RotarySpec large =
        RotarySpec.builder(2).scaling(RotaryScaling.given(new double[] {1e30})).build();
    assertRefused(
        () -> builder(large, FLOAT32).angles(AnglePrecision.FLOAT32).range(1L << 40, 1),
        "Infinity");
    // Large but finite angles are exact products too.
    try (RotaryTable table = builder(large, FLOAT32).range((1L << 40) - 1, 1)) {
      BigDecimal angle = BigDecimal.valueOf((1L << 40) - 1).multiply(Exact.of(1e30));
      assertEquals((float) Exact.cos(angle).doubleValue(), table.cos().toFloats()[0]);
    }
  }

  /** Integers by type: methods accept positions, indices and sizes as integers only. */
  @Test
  void noFloatingPointPositionsByType() {
    List<Class<?>> allowed =
        List.of(
            long.class,
            int.class,
            boolean.class,
            long[].class,
            int[].class,
            long[][].class,
            DType.class,
            Device.class,
            AnglePrecision.class,
            Object.class,
            RotarySpec.class);
    for (Class<?> type : List.of(RotaryTable.class, RotaryTable.Builder.class)) {
      Stream<Executable> all =
          Stream.concat(Arrays.stream(type.getMethods()), Arrays.stream(type.getConstructors()));
      all.filter(e -> Modifier.isPublic(e.getModifiers()))
          .filter(e -> e.getDeclaringClass() != Object.class)
          .forEach(
              e -> {
                for (Class<?> parameter : e.getParameterTypes()) {
                  assertTrue(allowed.contains(parameter), e + " takes " + parameter);
                }
              });
    }
    for (Class<?> type : List.of(Rotary.class, HeadsView.class)) {
      for (Executable e : type.getMethods()) {
        for (Class<?> parameter : e.getParameterTypes()) {
          Class<?> element = parameter.isArray() ? parameter.componentType() : parameter;
          assertFalse(
              element == float.class
                  || element == double.class
                  || Number.class.isAssignableFrom(element),
              e.toString());
        }
      }
    }
  }
}
