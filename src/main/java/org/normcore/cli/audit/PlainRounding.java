package org.normcore.cli.audit;

import org.normcore.DType;

/** Rounding to nearest even by arithmetic, independent of the library's conversions. */
final class PlainRounding {
  private final boolean isFloat32;
  private final int fractionBits;
  private final int smallestExponent;
  private final double largest;

  PlainRounding(DType dtype) {
    isFloat32 = dtype == DType.FLOAT32;
    switch (dtype) {
      case FLOAT32 -> {
        fractionBits = 23;
        smallestExponent = -126;
        largest = Float.MAX_VALUE;
      }
      case BFLOAT16 -> {
        fractionBits = 7;
        smallestExponent = -126;
        largest = 0x1.fep127;
      }
      case FLOAT16 -> {
        fractionBits = 10;
        smallestExponent = -14;
        largest = 65504;
      }
      default ->
          throw new IllegalArgumentException(
              "dtype: " + dtype + "; expected a type of at most 32 bits");
    }
  }

  /** The number of the format nearest to a float. */
  float round(float value) {
    return isFloat32 ? value : (float) round((double) value);
  }

  /** The distance between neighbours of the format at a value. */
  double step(double value) {
    return Math.scalb(1.0, Math.max(Math.getExponent(value), smallestExponent) - fractionBits);
  }

  /** The number of the format nearest to a double. */
  double round(double value) {
    if (value == 0 || Double.isNaN(value) || Double.isInfinite(value)) {
      return value;
    }
    double step = step(value);
    // Dividing by a power of two is exact, and rint rounds ties to even.
    double rounded = Math.rint(value / step) * step;
    return Math.abs(rounded) > largest ? Math.copySign(Double.POSITIVE_INFINITY, value) : rounded;
  }
}
