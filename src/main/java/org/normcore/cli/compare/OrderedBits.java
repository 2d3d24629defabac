package org.normcore.cli.compare;

import java.nio.ByteBuffer;
import org.normcore.DType;

/**
 * Elements as integers in the order of their values: neighbouring numbers of a format differ by 1.
 * Minus zero is one step below plus zero.
 */
final class OrderedBits {
  /** Stands for every NaN. */
  static final long NAN = Long.MIN_VALUE;

  private final DType dtype;
  private final int width;
  private final long largestMagnitude;

  OrderedBits(DType dtype) {
    this.dtype = dtype;
    this.width = dtype.bytes() * 8;
    this.largestMagnitude =
        switch (dtype) {
          case FLOAT64 -> 0x7ff0_0000_0000_0000L;
          case FLOAT32 -> 0x7f80_0000L;
          case BFLOAT16 -> 0x7f80L;
          case FLOAT16 -> 0x7c00L;
          case FLOAT8_E4M3 -> 0x7eL;
          case FLOAT8_E5M2 -> 0x7cL;
          case FLOAT8_E8M0 -> 0xfeL;
        };
  }

  /** The element at an index of a buffer in native byte order. */
  long at(ByteBuffer bytes, int index) {
    long bits =
        switch (dtype.bytes()) {
          case 8 -> bytes.getLong(index * 8);
          case 4 -> bytes.getInt(index * 4);
          case 2 -> bytes.getShort(index * 2);
          default -> bytes.get(index);
        };
    if (dtype == DType.FLOAT8_E8M0) {
      // No sign: all bits are the magnitude.
      long code = bits & 0xff;
      return code > largestMagnitude ? NAN : code;
    }
    long magnitude = bits & (-1L >>> (65 - width));
    if (magnitude > largestMagnitude) {
      return NAN;
    }
    return bits < 0 ? -magnitude - 1 : magnitude;
  }

  /** The distance of two non-NaN elements in steps; at most {@link Long#MAX_VALUE}. */
  static long distance(long a, long b) {
    long difference = a - b;
    boolean overflow = ((a ^ b) & (a ^ difference)) < 0;
    return overflow ? Long.MAX_VALUE : Math.abs(difference);
  }
}
