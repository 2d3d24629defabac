package org.normcore.cli.compare;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;

class ComparisonTest {
  @ParameterizedTest
  @EnumSource(mode = Mode.EXCLUDE, names = "FLOAT8_E8M0")
  void equalTensorsDoNotDiffer(DType dtype) {
    TensorView a = tensor(dtype, -2, -0.5, 0, Double.NaN, 1, 448);
    Comparison comparison = Comparison.of(a, a);
    assertEquals(6, comparison.elements());
    assertEquals(0, comparison.differing());
    assertEquals(0, comparison.maxUlp());
    assertEquals(List.of(new UlpHistogram.Bucket(0, 0, 6)), comparison.histogram().buckets());
    assertTrue(comparison.first().isEmpty());
  }

  @ParameterizedTest
  @EnumSource(mode = Mode.EXCLUDE, names = "FLOAT8_E8M0")
  void neighboursAreOneUlpApart(DType dtype) {
    int fractionBits =
        switch (dtype) {
          case FLOAT64 -> 52;
          case FLOAT32 -> 23;
          case BFLOAT16 -> 7;
          case FLOAT16 -> 10;
          case FLOAT8_E4M3 -> 3;
          case FLOAT8_E5M2 -> 2;
          case FLOAT8_E8M0 -> throw new IllegalArgumentException();
        };
    double step = Math.scalb(1.0, -fractionBits);
    TensorView a = tensor(dtype, 1, -1, 1, 1);
    TensorView b = tensor(dtype, 1 + step, -1 - step, 1 - step / 2, 1 + 3 * step);
    Comparison comparison = Comparison.of(a, b);
    assertEquals(4, comparison.differing());
    assertEquals(3, comparison.maxUlp());
    assertEquals(3 * step, comparison.maxAbs());
    assertEquals(
        List.of(
            new UlpHistogram.Bucket(0, 0, 0),
            new UlpHistogram.Bucket(1, 1, 3),
            new UlpHistogram.Bucket(2, 2, 0),
            new UlpHistogram.Bucket(3, 4, 1)),
        comparison.histogram().buckets());
    assertEquals(new Comparison.Difference(0, 1, 1 + step), comparison.first().orElseThrow());
  }

  @Test
  void zerosOfBothSignsAreNeighbours() {
    Comparison comparison =
        Comparison.of(tensor(DType.BFLOAT16, 0.0), tensor(DType.BFLOAT16, -0.0));
    assertEquals(1, comparison.differing());
    assertEquals(1, comparison.maxUlp());
    assertEquals(0, comparison.maxAbs());
  }

  /** The format of scales has no sign, so the codes have the order of the values. */
  @Test
  void scalesOfBlocks() {
    Comparison comparison = Comparison.of(scales(0, 127, 254, 255, 3), scales(0, 128, 1, 255, 255));
    assertEquals(3, comparison.differing());
    assertEquals(253, comparison.maxUlp());
    assertEquals(1, comparison.nanMismatches());
  }

  @Test
  void distancesAcrossTheWholeRangeDoNotOverflow() {
    Comparison comparison =
        Comparison.of(
            tensor(DType.FLOAT64, Double.NEGATIVE_INFINITY, 1),
            tensor(DType.FLOAT64, Double.POSITIVE_INFINITY, 1));
    assertEquals(Long.MAX_VALUE, comparison.maxUlp());
    assertEquals(1, comparison.differing());
  }

  @Test
  void nanMismatchesAreCountedSeparately() {
    Comparison comparison =
        Comparison.of(tensor(DType.FLOAT16, Double.NaN, 1), tensor(DType.FLOAT16, 1, 1));
    assertEquals(1, comparison.nanMismatches());
    assertEquals(0.5, comparison.differingShare());
    assertEquals(0, comparison.maxAbs());
  }

  @Test
  void largeDifferencesAreCounted() {
    Comparison comparison =
        Comparison.of(
            tensor(DType.FLOAT64, 0, 0, 0, 0), tensor(DType.FLOAT64, 0.01, 0.02, 0.005, 0));
    assertEquals(0.25, comparison.beyondShare());
  }

  @Test
  void sumsAddUp() {
    Comparison sum = Comparison.empty();
    sum.add(Comparison.of(tensor(DType.FLOAT32, 1, 2), tensor(DType.FLOAT32, 1, 3)));
    sum.add(Comparison.of(tensor(DType.FLOAT32, 1), tensor(DType.FLOAT32, 1)));
    assertEquals(3, sum.elements());
    assertEquals(1, sum.differing());
    assertEquals(1.0, sum.maxAbs());
  }

  @Test
  void otherTypesAndShapesAreRefused() {
    TensorView a = tensor(DType.FLOAT32, 1, 2);
    assertThrows(IllegalArgumentException.class, () -> Comparison.of(a, tensor(DType.FLOAT32, 1)));
    assertThrows(
        IllegalArgumentException.class, () -> Comparison.of(a, tensor(DType.FLOAT64, 1, 2)));
  }

  private static TensorView scales(int... codes) {
    ByteBuffer bytes = ByteBuffer.allocateDirect(codes.length).order(ByteOrder.nativeOrder());
    for (int i = 0; i < codes.length; i++) {
      bytes.put(i, (byte) codes[i]);
    }
    return TensorView.of(bytes, DType.FLOAT8_E8M0, codes.length);
  }

  private static TensorView tensor(DType dtype, double... values) {
    return NativeBuffer.allocate(dtype, values.length).view(dtype, values.length).copyFrom(values);
  }
}
