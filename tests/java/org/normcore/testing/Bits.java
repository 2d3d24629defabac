package org.normcore.testing;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.normcore.DType;
import org.normcore.TensorView;

/** Tensors as the bit patterns of their elements. */
public final class Bits {
  private Bits() {}

  /** How two tensors of one dtype differ. */
  public record Difference(long elements, long differing, long maxUlps) {
    /** The share of elements whose bits differ. */
    public double share() {
      return (double) differing / elements;
    }

    @Override
    public String toString() {
      return "%d of %d differ (%.4f %%), by up to %d units in the last place"
          .formatted(differing, elements, 100 * share(), maxUlps);
    }
  }

  /**
   * Returns the elements as integers in the order of their values; neighbouring numbers differ by
   * 1. Both zeros are 0.
   */
  public static long[] ordered(TensorView view) {
    ByteBuffer bytes = ByteBuffer.wrap(view.toBytes()).order(ByteOrder.nativeOrder());
    int size = view.dtype().bytes();
    long[] all = new long[bytes.capacity() / size];
    for (int i = 0; i < all.length; i++) {
      long bits =
          switch (size) {
            case 1 -> bytes.get(i);
            case 2 -> bytes.getShort(2 * i);
            case 4 -> bytes.getInt(4 * i);
            default -> bytes.getLong(8 * i);
          };
      all[i] = bits >= 0 ? bits : (-1L << (8 * size - 1)) - bits;
    }
    return all;
  }

  /** Compares two tensors of one dtype and size. */
  public static Difference difference(TensorView a, TensorView b) {
    if (a.dtype() != b.dtype() || a.elements() != b.elements()) {
      throw new IllegalArgumentException(a + " with " + b);
    }
    long[] left = ordered(a);
    long[] right = ordered(b);
    long differing = 0;
    long largest = 0;
    for (int i = 0; i < left.length; i++) {
      long distance = Math.abs(left[i] - right[i]);
      differing += distance == 0 ? 0 : 1;
      largest = Math.max(largest, distance);
    }
    return new Difference(left.length, differing, largest);
  }

  /** The distance between neighbouring numbers of a format at a value, without underflow. */
  public static double ulp(DType dtype, double value) {
    int fractionBits =
        switch (dtype) {
          case FLOAT64 -> 52;
          case FLOAT32 -> 23;
          case BFLOAT16 -> 7;
          case FLOAT16 -> 10;
          case FLOAT8_E4M3 -> 3;
          case FLOAT8_E5M2 -> 2;
          case FLOAT8_E8M0 -> 0;
        };
    int exponent = Math.max(Math.getExponent(value), dtype == DType.FLOAT16 ? -14 : -126);
    return Math.scalb(1.0, exponent - fractionBits);
  }
}
