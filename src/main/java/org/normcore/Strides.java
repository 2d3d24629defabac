package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.primitives.Longs;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Folds the strides of all dimensions, in elements, into the row stride of a {@link TensorView}.
 */
final class Strides {
  private Strides() {}

  /**
   * Returns the row stride.
   *
   * @throws IllegalArgumentException as {@link TensorView#ofStrided}
   */
  static long fold(long[] shape, long[] strides) {
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
      return "contiguous rows, 1 in the last place";
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
        return "rows that are equally far apart: " + next + " in place " + i;
      }
      inner = i;
    }
    return null;
  }

  /**
   * Returns the innermost dimension outside the given one, or a negative number if there is none.
   * Dimensions of size 1 do not count, because no element lies a stride away along them.
   */
  private static int nextOuter(long[] shape, int outside) {
    int i = outside - 1;
    while (i >= 0 && shape[i] == 1) {
      i--;
    }
    return i;
  }

  private static void requireSameRank(long[] shape, long[] strides) {
    TensorView.requireSizes(shape);
    Objects.requireNonNull(strides, "strides: null; expected an array of strides");
    checkArgument(
        strides.length == shape.length,
        "strides: %s; expected %s of them, one for each dimension of shape %s",
        Arrays.toString(strides),
        shape.length,
        Arrays.toString(shape));
  }
}
