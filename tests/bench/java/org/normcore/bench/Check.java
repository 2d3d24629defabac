package org.normcore.bench;

import java.util.LinkedHashMap;
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

  /** To be called when our results are in the tensors. */
  Check(Workload workload, Tensors tensors) {
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
    long rows = view.size(0);
    long count = Math.min(rows, ROWS_AT_EACH_END);
    views.put(name, view.rows(0, count));
    views.put(name + ", last rows", view.rows(rows - count, rows));
  }

  private void clear() {
    views.values().forEach(view -> view.copyFrom(new float[(int) view.elements()]));
  }

  /**
   * Compares what another contender has left in the tensors, and clears it.
   *
   * @throws Absent if it differs by more than roundings explain
   */
  void verify(String contender) throws Absent {
    for (Map.Entry<String, TensorView> entry : views.entrySet()) {
      float[] ours = expected.get(entry.getKey());
      float[] theirs = entry.getValue().toFloats();
      double largest = 0;
      double apart = 0;
      for (int i = 0; i < ours.length; i++) {
        largest = Math.max(largest, Math.abs(ours[i]));
        double difference = Math.abs((double) ours[i] - theirs[i]);
        apart = Double.isNaN(difference) ? Double.POSITIVE_INFINITY : Math.max(apart, difference);
      }
      double allowed = tolerance(entry.getValue().dtype()) * largest;
      if (!(apart <= allowed)) {
        throw new Absent(
            String.format(
                "computes something else: %s of %s is up to %.3g away from ours, where roundings"
                    + " explain %.3g",
                entry.getKey(), contender, apart, allowed));
      }
    }
    clear();
  }

  /**
   * Relative to the largest element. A 16-bit result may have been rounded four times where ours
   * was once: five times half a unit in the last place, taken as four units. In float32 roundings
   * are those of sums of at most 2^17 terms, whose errors grow with the root of that number: 2^8.5
   * times half a unit, again with four to spare.
   */
  private static double tolerance(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 0x1p-13;
      case BFLOAT16 -> 4 * 0x1p-8;
      case FLOAT16 -> 4 * 0x1p-11;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }
}
