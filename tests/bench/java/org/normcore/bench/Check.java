package org.normcore.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * Compares the results of a contender with ours. Keeps the first and last rows of our matrices and
 * all of our vectors.
 */
final class Check {
  private static final long ROWS_AT_EACH_END = 32;

  private final Map<String, TensorView> views = new LinkedHashMap<>();
  private final Map<String, float[]> expected = new LinkedHashMap<>();
  private final DType dtype;
  private final long rows;

  /** Keeps our results; call it while they are in the tensors. */
  Check(Workload workload, Tensors tensors) {
    this.dtype = workload.dtype();
    this.rows = workload.shape().rows();
    if (workload.direction() == Direction.BACKWARD) {
      addMatrix("dx", tensors.dx());
      views.put("dweight", tensors.dweight());
      if (workload.isLayerNorm()) {
        views.put("dbias", tensors.dbias());
      }
    } else {
      addMatrix("y", tensors.y());
      if (workload.direction() == Direction.RESIDUAL) {
        addMatrix("sum", tensors.sum());
      }
    }
    views.forEach((name, view) -> expected.put(name, view.toFloats()));
    clear();
  }

  private void addMatrix(String name, TensorView view) {
    List<TensorView> ends = ends(view);
    for (int i = 0; i < ends.size(); i++) {
      views.put(name + (i == 0 ? "" : ", last rows"), ends.get(i));
    }
  }

  /** The checked rows of a matrix: those at both ends, or all. */
  static List<TensorView> ends(TensorView view) {
    long rows = view.size(0);
    return rows <= 2 * ROWS_AT_EACH_END
        ? List.of(view)
        : List.of(view.rows(0, ROWS_AT_EACH_END), view.rows(rows - ROWS_AT_EACH_END, rows));
  }

  private void clear() {
    views.values().forEach(view -> view.copyFrom(new float[(int) view.elements()]));
  }

  /**
   * Compares another contender's results in the tensors and clears them.
   *
   * @throws Absent if the difference exceeds the effect of roundings
   */
  void verify() throws Absent {
    for (Map.Entry<String, TensorView> entry : views.entrySet()) {
      float[] ours = expected.get(entry.getKey());
      float[] theirs = entry.getValue().toFloats();
      boolean isSum = entry.getValue().rank() == 1;
      double apart = isSum ? inTheMean(ours, theirs) : atMost(ours, theirs);
      double allowed = isSum ? sumTolerance() : tolerance(dtype);
      if (!(apart <= allowed)) {
        throw new Absent(
            String.format(
                Locale.ROOT,
                "computes something else: %s differs from ours by %.2g of its size, and roundings"
                    + " explain %.2g",
                entry.getKey(),
                apart,
                allowed));
      }
    }
    clear();
  }

  /** The largest difference, relative to the largest element. */
  private static double atMost(float[] ours, float[] theirs) {
    double largest = 0;
    double apart = 0;
    for (int i = 0; i < ours.length; i++) {
      largest = Math.max(largest, Math.abs(ours[i]));
      double difference = Math.abs((double) ours[i] - theirs[i]);
      apart = Double.isNaN(difference) ? Double.POSITIVE_INFINITY : Math.max(apart, difference);
    }
    return apart / largest;
  }

  /** The root mean square of the difference, relative to that of the elements. */
  private static double inTheMean(float[] ours, float[] theirs) {
    double size = 0;
    double apart = 0;
    for (int i = 0; i < ours.length; i++) {
      double difference = (double) ours[i] - theirs[i];
      size += (double) ours[i] * ours[i];
      apart += difference * difference;
    }
    return Math.sqrt(apart / size);
  }

  /**
   * The tolerance of matrices. A 16-bit result may have four roundings where ours has one: five
   * times half a unit in the last place, taken as four units. In float32 the roundings are those of
   * sums of at most 2^17 terms, whose errors grow with the root of that number: 2^8.5 times half a
   * unit, taken as 2^11 units.
   */
  private static double tolerance(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 0x1p-13;
      case BFLOAT16 -> 4 * 0x1p-8;
      case FLOAT16 -> 4 * 0x1p-11;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }

  /**
   * The tolerance of sums over rows. PyTorch keeps them in x's type, so each addition rounds by up
   * to half a unit of the sum: the error grows with the root of the number of rows, taken twice.
   * Above 0.75 the check would be meaningless: an unrelated result has the distance sqrt(2), zeros
   * the distance 1.
   */
  private double sumTolerance() {
    return Math.min(0.75, tolerance(dtype) + 2 * Math.sqrt(rows) * unit(dtype) / 2);
  }

  private static double unit(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 0x1p-23;
      case BFLOAT16 -> 0x1p-7;
      case FLOAT16 -> 0x1p-10;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }
}
