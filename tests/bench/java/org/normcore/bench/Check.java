package org.normcore.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * Whether a contender computes what we compute. Kept from our run: the first and last rows of
 * matrices, and all of the vectors.
 */
final class Check {
  private static final long ROWS_AT_EACH_END = 32;

  private final Map<String, TensorView> views = new LinkedHashMap<>();
  private final Map<String, float[]> expected = new LinkedHashMap<>();
  private final DType dtype;
  private final long rows;

  /** To be called when our results are in the tensors. */
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

  /** The rows of a matrix that are looked at: those at both ends, or all. */
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
   * Compares what another contender has left in the tensors, and clears it.
   *
   * @throws Absent if it differs by more than roundings explain
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
   * For matrices. A 16-bit result may have been rounded four times where ours was once: five times
   * half a unit in the last place, taken as four units. In float32 roundings are those of sums of
   * at most 2^17 terms, whose errors grow with the root of that number: 2^8.5 times half a unit,
   * taken as 2^11 units.
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
   * For sums over rows. PyTorch keeps them in x's type, so that each addition rounds by up to half
   * a unit of the sum: errors that grow with the root of the number of rows, taken twice. Beyond
   * 0.75 a result would say nothing any more: one that has nothing to do with ours is sqrt(2) away,
   * and none at all 1.
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
