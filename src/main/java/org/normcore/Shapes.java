package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.math.LongMath;
import com.google.common.primitives.Longs;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/** Arithmetic with the shapes and strides of tensors, in elements. */
final class Shapes {
  private Shapes() {}

  /** The number of elements of a shape. Throws if no tensor can have that shape. */
  static long elements(DType dtype, long[] shape) {
    Objects.requireNonNull(dtype, "dtype: null; expected a DType");
    requireSizes(shape);
    if (Longs.contains(shape, 0)) {
      return 0;
    }
    long elements = 1;
    for (long size : shape) {
      elements = LongMath.saturatedMultiply(elements, size);
    }
    checkArgument(
        elements <= Long.MAX_VALUE / dtype.bytes(),
        "shape: %s of %s is beyond the address space",
        Arrays.toString(shape),
        dtype);
    return elements;
  }

  /** The number of rows: the product of all dimensions but the last. */
  static long rows(long[] shape) {
    long rows = 1;
    for (int i = 0; i < shape.length - 1; i++) {
      rows = LongMath.saturatedMultiply(rows, shape[i]);
    }
    return rows;
  }

  /** The bytes from the first element to the end of the last one; negative if that overflows. */
  static long extent(long elements, long rowCount, long rowStride, long rowLength, int width) {
    if (elements == 0) {
      return 0;
    }
    long span =
        LongMath.saturatedAdd(LongMath.saturatedMultiply(rowCount - 1, rowStride), rowLength);
    return span > Long.MAX_VALUE / width ? -1 : span * width;
  }

  /**
   * Folds strides into the row stride of a {@link TensorView}.
   *
   * @throws IllegalArgumentException as {@link TensorView#ofStrided}
   */
  static long rowStride(long[] shape, long[] strides) {
    requireSameRank(shape, strides);
    String expected = expected(shape, strides);
    if (expected != null) {
      throw new IllegalArgumentException(
          "strides: "
              + Arrays.toString(strides)
              + " with shape "
              + Arrays.toString(shape)
              + "; expected "
              + expected);
    }
    int row = nextOuter(shape, shape.length - 1);
    if (row >= 0 && !Longs.contains(shape, 0)) {
      return strides[row];
    }
    return shape.length == 0 ? 1 : shape[shape.length - 1];
  }

  /** As {@link TensorView#foldsIntoRows}. */
  static boolean canFold(long[] shape, long[] strides) {
    requireSameRank(shape, strides);
    return expected(shape, strides) == null;
  }

  /** Returns what the strides should be instead, or null if they fold. */
  private static @Nullable String expected(long[] shape, long[] strides) {
    int last = shape.length - 1;
    if (last < 0 || Longs.contains(shape, 0)) {
      return null;
    }
    if (shape[last] > 1 && strides[last] != 1) {
      return "contiguous rows, 1 in the last dimension";
    }
    int inner = nextOuter(shape, last);
    if (inner >= 0 && strides[inner] < shape[last]) {
      return "rows that do not overlap, at least " + shape[last] + " apart";
    }
    for (int i = nextOuter(shape, inner); i >= 0; i = nextOuter(shape, i)) {
      // The outer dimension has at least 2 entries, so this distance is within the tensor.
      if (strides[inner] > Long.MAX_VALUE / shape[inner]) {
        return "a tensor within the address space";
      }
      long next = strides[inner] * shape[inner];
      if (strides[i] != next) {
        return "rows at equal distances: " + next + " in dimension " + i;
      }
      inner = i;
    }
    return null;
  }

  /**
   * Returns the innermost dimension outside the given one, or a negative number if there is none.
   * Dimensions of size 1 do not count, because their strides have no effect.
   */
  private static int nextOuter(long[] shape, int outside) {
    int i = outside - 1;
    while (i >= 0 && shape[i] == 1) {
      i--;
    }
    return i;
  }

  private static void requireSameRank(long[] shape, long[] strides) {
    requireSizes(shape);
    Objects.requireNonNull(strides, "strides: null; expected an array of strides");
    checkArgument(
        strides.length == shape.length,
        "strides: %s; expected %s of them, one for each dimension of shape %s",
        Arrays.toString(strides),
        shape.length,
        Arrays.toString(shape));
  }

  private static void requireSizes(long[] shape) {
    Objects.requireNonNull(shape, "shape: null; expected an array of sizes");
    for (long size : shape) {
      checkArgument(size >= 0, "shape: %s; expected no negative dimension", Arrays.toString(shape));
    }
  }
}
