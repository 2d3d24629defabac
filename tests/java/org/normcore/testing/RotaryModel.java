package org.normcore.testing;

import org.normcore.DType;
import org.normcore.HeadsView;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import org.normcore.TensorView;

/**
 * A literal implementation of rotary position embedding, pair by pair, in Java's float. Its
 * rounding uses units in the last place and is independent of the library's.
 */
public final class RotaryModel {
  private RotaryModel() {}

  /** Heads with random contents in memory of an arena, at strides that leave gaps. */
  public record Heads(TensorView memory, HeadsView view) {
    /**
     * Makes heads of the given shape with a gap of {@code gap} elements after each head, token and
     * batch.
     *
     * @param seqFirst whether the sequence is the outer dimension of a batch rather than the heads
     */
    public static Heads random(
        Arena arena,
        DType dtype,
        boolean seqFirst,
        int gap,
        int misalignment,
        long seed,
        long... s) {
      long inner = s[3] + gap;
      long outer = (seqFirst ? s[2] : s[1]) * inner + gap;
      long all = (seqFirst ? s[1] : s[2]) * outer + gap;
      long elements = Math.max(1, s[0] * all);
      TensorView memory = arena.tensor(misalignment * dtype.bytes(), 0, dtype, elements);
      memory.copyFrom(Values.normal(seed, elements));
      long[] strides = {all, seqFirst ? outer : inner, seqFirst ? inner : outer};
      return new Heads(memory, HeadsView.of(memory, 0, s, strides));
    }

    /** The offset of an element in the memory. */
    public int at(long batch, long seq, long head, long element) {
      long[] strides = view.strides();
      return (int) (batch * strides[0] + seq * strides[1] + head * strides[2] + element);
    }
  }

  /**
   * Returns the expected memory of {@code y} after the rotation of {@code x}, gaps included.
   *
   * @param cos the table, row by row
   * @param perBatch whether the table has rows for every batch
   */
  public static float[] turned(
      Heads x,
      Heads y,
      float[] cos,
      float[] sin,
      boolean perBatch,
      int rotaryDim,
      RotaryLayout layout,
      RotaryRounding rounding,
      boolean backward) {
    float[] from = x.memory.toFloats();
    float[] to = y.memory.toFloats();
    long[] shape = x.view.shape();
    DType dtype = x.view.dtype();
    int pairs = rotaryDim / 2;
    for (long b = 0; b < shape[0]; b++) {
      for (long s = 0; s < shape[1]; s++) {
        for (long h = 0; h < shape[2]; h++) {
          for (int i = 0; i < pairs; i++) {
            boolean half = layout == RotaryLayout.HALF_SPLIT;
            int first = half ? i : 2 * i;
            int second = half ? i + pairs : 2 * i + 1;
            int row = (int) ((perBatch ? b * shape[1] : 0) + s);
            float c = cos[row * pairs + i];
            float angle = sin[row * pairs + i];
            float d = backward ? -angle : angle;
            float x1 = from[x.at(b, s, h, first)];
            float x2 = from[x.at(b, s, h, second)];
            float p1 = x1 * c;
            float p2 = x2 * d;
            float p3 = x2 * c;
            float p4 = x1 * d;
            if (rounding == RotaryRounding.INPUT) {
              p1 = rounded(dtype, p1);
              p2 = rounded(dtype, p2);
              p3 = rounded(dtype, p3);
              p4 = rounded(dtype, p4);
            }
            to[y.at(b, s, h, first)] = rounded(dtype, p1 - p2);
            to[y.at(b, s, h, second)] = rounded(dtype, p3 + p4);
          }
          for (long e = rotaryDim; e < shape[3]; e++) {
            to[y.at(b, s, h, e)] = from[x.at(b, s, h, e)];
          }
        }
      }
    }
    return to;
  }

  /** Rounds to nearest even in a format; values are well within its range. */
  public static float rounded(DType dtype, double value) {
    double ulp = Bits.ulp(dtype, value);
    return (float) (Math.rint(value / ulp) * ulp);
  }
}
