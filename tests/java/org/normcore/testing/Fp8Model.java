package org.normcore.testing;

import org.normcore.DType;

/**
 * FP8 from its definition: lists the numbers of a format and maps a value to the nearest.
 * Independent of the library's code.
 */
public final class Fp8Model {
  private final int fractionBits;
  private final int bias;
  private final int largestCode;
  private final int nanCode;
  private final double[] magnitudes;

  private Fp8Model(int fractionBits, int bias, int largestCode, int nanCode) {
    this.fractionBits = fractionBits;
    this.bias = bias;
    this.largestCode = largestCode;
    this.nanCode = nanCode;
    this.magnitudes = new double[largestCode + 1];
    for (int code = 0; code <= largestCode; code++) {
      magnitudes[code] = magnitude(code);
    }
  }

  /** Returns the model of E4M3 or E5M2. */
  public static Fp8Model of(DType format) {
    return switch (format) {
      case FLOAT8_E4M3 -> new Fp8Model(3, 7, 0x7e, 0x7f);
      case FLOAT8_E5M2 -> new Fp8Model(2, 15, 0x7b, 0x7e);
      default -> throw new IllegalArgumentException(format + " is no FP8 format");
    };
  }

  private double magnitude(int code) {
    int exponent = code >> fractionBits;
    int fraction = code & (1 << fractionBits) - 1;
    int significand = exponent == 0 ? fraction : fraction + (1 << fractionBits);
    return significand * Math.pow(2, Math.max(exponent, 1) - bias - fractionBits);
  }

  /** Returns the largest finite value. */
  public double largest() {
    return magnitudes[largestCode];
  }

  /** Returns the smallest positive value. */
  public double smallest() {
    return magnitudes[1];
  }

  /** Returns the code of the nearest value, for ties the even one; too large values saturate. */
  public byte encode(double value) {
    if (Double.isNaN(value)) {
      return (byte) nanCode;
    }
    double magnitude = Math.abs(value);
    int below = 0;
    for (int step = 64; step > 0; step /= 2) {
      if (below + step <= largestCode && magnitudes[below + step] <= magnitude) {
        below += step;
      }
    }
    int code = below;
    if (below < largestCode) {
      double down = magnitude - magnitudes[below];
      double up = magnitudes[below + 1] - magnitude;
      code += up < down || up == down && below % 2 == 1 ? 1 : 0;
    }
    return (byte) (Math.copySign(1, value) < 0 ? code | 0x80 : code);
  }

  /** Returns the value of a code. */
  public double decode(byte code) {
    int magnitude = code & 0x7f;
    if (magnitude > largestCode) {
      return fractionBits == 2 && magnitude == 0x7c
          ? Math.copySign(Double.POSITIVE_INFINITY, code)
          : Double.NaN;
    }
    return code < 0 ? -magnitudes[magnitude] : magnitudes[magnitude];
  }

  /** Returns the scale that maps a largest magnitude to the format's largest value. */
  public float scale(float amax, int margin, boolean powerOfTwo) {
    if (!(amax > 0) || Float.isInfinite(amax)) {
      return 1;
    }
    // The product is exact, so the quotient is rounded once.
    float scale = (float) (largest() * Math.pow(2, -margin)) / amax;
    scale = Math.min(Math.max(scale, Float.MIN_NORMAL), Float.MAX_VALUE);
    return powerOfTwo ? (float) Math.pow(2, Math.getExponent(scale)) : scale;
  }

  /** Returns the E8M0 code of the inverse scale of a block with that largest magnitude. */
  public int blockCode(float amax) {
    if (amax == 0) {
      return 0;
    }
    int code = 0;
    while (code < 254 && amax > largest() * Math.pow(2, code - 127)) {
      code++;
    }
    return code;
  }

  /** Returns the largest magnitude in float32, ignoring NaN. */
  public static float amax(double[] values, int begin, int end) {
    double amax = 0;
    for (int i = begin; i < end; i++) {
      amax = Math.max(amax, Double.isNaN(values[i]) ? 0 : Math.abs(values[i]));
    }
    return (float) amax;
  }
}
