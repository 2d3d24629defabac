package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.EnumSource.Mode;

/**
 * Conversions against a decoder and a rounding implemented here from the definitions of the
 * formats.
 */
class TensorConversionTest {
  private record Format(int exponentBits, int fractionBits, double largest, boolean saturates) {
    static Format of(DType dtype) {
      return switch (dtype) {
        case BFLOAT16 -> new Format(8, 7, Math.scalb(255.0 / 128, 127), false);
        case FLOAT16 -> new Format(5, 10, 65504, false);
        case FLOAT8_E4M3 -> new Format(4, 3, 448, true);
        case FLOAT8_E5M2 -> new Format(5, 2, 57344, true);
        case FLOAT32 -> new Format(8, 23, Float.MAX_VALUE, false);
        case FLOAT64, FLOAT8_E8M0 -> throw new IllegalArgumentException();
      };
    }

    int bias() {
      return (1 << exponentBits - 1) - 1;
    }

    double decode(int bits) {
      int exponent = bits >> fractionBits & (1 << exponentBits) - 1;
      int fraction = bits & (1 << fractionBits) - 1;
      double sign = (bits >> exponentBits + fractionBits & 1) == 0 ? 1 : -1;
      boolean top = exponent == (1 << exponentBits) - 1;
      if (exponentBits == 4 ? top && fraction == 7 : top) {
        return fraction == 0 ? sign * Double.POSITIVE_INFINITY : Double.NaN;
      }
      double magnitude =
          exponent == 0
              ? Math.scalb((double) fraction, 1 - bias() - fractionBits)
              : Math.scalb(
                  (double) (fraction + (1 << fractionBits)), exponent - bias() - fractionBits);
      return sign * magnitude;
    }

    /** Scaling by powers of two is exact, so rint is the only rounding. */
    double round(double value) {
      if (Double.isNaN(value) || value == 0) {
        return value;
      }
      int exponent = Math.max(Math.getExponent(value), 1 - bias());
      double rounded =
          Double.isInfinite(value)
              ? value
              : Math.scalb(
                  Math.rint(Math.scalb(value, fractionBits - exponent)), exponent - fractionBits);
      if (Math.abs(rounded) <= largest) {
        return rounded;
      }
      return Math.copySign(saturates ? largest : Double.POSITIVE_INFINITY, value);
    }
  }

  /** Builds a message for a failure only, because there are millions of comparisons. */
  private static void assertSame(double expected, double actual, String what, double which) {
    if (Double.compare(expected, actual) != 0) {
      assertEquals(expected, actual, what + " " + which);
    }
  }

  private static TensorView view(DType dtype, int elements) {
    return TensorView.of(
        ByteBuffer.allocateDirect(elements * dtype.bytes()).order(ByteOrder.nativeOrder()),
        dtype,
        elements);
  }

  private static TensorView patterns(DType dtype) {
    int count = 1 << 8 * dtype.bytes();
    ByteBuffer bytes = ByteBuffer.allocateDirect(count * dtype.bytes());
    bytes.order(ByteOrder.nativeOrder());
    for (int i = 0; i < count; i++) {
      if (dtype.bytes() == 1) {
        bytes.put(i, (byte) i);
      } else {
        bytes.putShort(2 * i, (short) i);
      }
    }
    return TensorView.of(bytes, dtype, count);
  }

  @ParameterizedTest
  @EnumSource(
      mode = Mode.EXCLUDE,
      names = {"FLOAT64", "FLOAT32", "FLOAT8_E8M0"})
  void everyPatternIsRead(DType dtype) {
    Format format = Format.of(dtype);
    TensorView all = patterns(dtype);
    double[] doubles = all.toDoubles();
    float[] floats = all.toFloats();
    for (int i = 0; i < doubles.length; i++) {
      double expected = format.decode(i);
      assertSame(expected, doubles[i], "pattern", i);
      assertSame((float) expected, floats[i], "pattern", i);
    }
    // Round trip of every pattern except NaNs, which become the canonical NaN.
    byte[] back = view(dtype, doubles.length).copyFrom(doubles).toBytes();
    byte[] bytes = all.toBytes();
    for (int i = 0; i < bytes.length; i++) {
      if (!Double.isNaN(doubles[i / dtype.bytes()])
          && !(dtype == DType.FLOAT8_E5M2 && Double.isInfinite(doubles[i]))) {
        assertEquals(bytes[i], back[i], "pattern of " + doubles[i / dtype.bytes()]);
      }
    }
  }

  /** Every number of the format, the midpoint to the next one, and the neighbours of both. */
  @ParameterizedTest
  @EnumSource(
      mode = Mode.EXCLUDE,
      names = {"FLOAT64", "FLOAT32", "FLOAT8_E8M0"})
  void roundsToNearestEven(DType dtype) {
    Format format = Format.of(dtype);
    List<Double> values = new ArrayList<>();
    int positive = 1 << format.exponentBits + format.fractionBits;
    for (int bits = 0; bits < positive; bits++) {
      double value = format.decode(bits);
      double next = bits + 1 < positive ? format.decode(bits + 1) : Double.NaN;
      if (!Double.isFinite(value)) {
        continue;
      }
      double step = Double.isFinite(next) ? next - value : value - format.decode(bits - 1);
      for (double at : new double[] {value, value + step / 2, value + step}) {
        for (double near : new double[] {Math.nextDown(at), at, Math.nextUp(at)}) {
          values.add(near);
          values.add(-near);
        }
      }
    }
    values.addAll(
        List.of(
            0.0,
            -0.0,
            Double.POSITIVE_INFINITY,
            Double.NEGATIVE_INFINITY,
            Double.NaN,
            Double.MAX_VALUE,
            -Double.MAX_VALUE,
            Double.MIN_VALUE,
            -Double.MIN_VALUE,
            Double.MIN_NORMAL,
            1e-300));
    double[] source = values.stream().mapToDouble(Double::doubleValue).toArray();
    double[] actual = view(dtype, source.length).copyFrom(source).toDoubles();
    float[] floats = new float[source.length];
    for (int i = 0; i < source.length; i++) {
      floats[i] = (float) source[i];
      assertSame(format.round(source[i]), actual[i], "from", source[i]);
    }
    double[] fromFloats = view(dtype, source.length).copyFrom(floats).toDoubles();
    for (int i = 0; i < source.length; i++) {
      assertSame(format.round(floats[i]), fromFloats[i], "from", floats[i]);
    }
  }

  @Test
  void blockScalesAreReadButNotWritten() {
    TensorView all = patterns(DType.FLOAT8_E8M0);
    double[] doubles = all.toDoubles();
    for (int code = 0; code < 255; code++) {
      assertSame(Math.scalb(1.0, code - 127), doubles[code], "code", code);
    }
    assertSame(Double.NaN, doubles[255], "code", 255);
    byte[] before = all.toBytes();
    for (Runnable call :
        List.<Runnable>of(
            () -> all.copyFrom(new float[256]),
            () -> all.copyFrom(new double[256]),
            () -> all.copyFrom(view(DType.FLOAT32, 256)))) {
      String message = assertThrows(UnsupportedOperationException.class, call::run).getMessage();
      assertTrue(message.contains("e8m0"), message);
    }
    assertArrayEquals(before, all.toBytes());
  }

  @Test
  void doublesAreKeptAndRoundedToFloats() {
    double[] values = {0.1, -1 / 3.0, 1e300, -1e-300, Double.NaN, Double.MIN_VALUE, 1 + 1e-8};
    assertArrayEquals(values, view(DType.FLOAT64, values.length).copyFrom(values).toDoubles());
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    assertArrayEquals(floats, view(DType.FLOAT32, values.length).copyFrom(values).toFloats());
    assertArrayEquals(floats, view(DType.FLOAT64, values.length).copyFrom(values).toFloats());
  }

  @Test
  void promotion() {
    for (DType a : DType.values()) {
      assertEquals(a, DType.promote(a, a));
      for (DType b : DType.values()) {
        if (a != b && (!a.isNormType() || !b.isNormType())) {
          assertThrows(IllegalArgumentException.class, () -> DType.promote(a, b));
        } else if (a != b) {
          assertEquals(
              a == DType.FLOAT64 || b == DType.FLOAT64 ? DType.FLOAT64 : DType.FLOAT32,
              DType.promote(a, b));
        }
      }
    }
  }
}
