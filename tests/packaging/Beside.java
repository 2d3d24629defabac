import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.TensorView;

/**
 * Computes an RMSNorm with each of the named libraries, loaded in that order into one process. The
 * test fails if a library resolves symbols of another one.
 */
final class Beside {
  private static final float[] X = {7, 1, -1, 5, 0.5f, 3, 2, -4};
  private static final float[] WEIGHT = {1, 2, 3, 4};

  private Beside() {}

  public static void main(String[] order) {
    for (int round = 0; round < 2; round++) {
      for (String library : order) {
        float[] y = library.equals("normcore") ? normcore() : pytorch();
        float[] expected = expected();
        for (int i = 0; i < y.length; i++) {
          if (!(Math.abs(y[i] - expected[i]) < 1e-5)) {
            throw new AssertionError(library + " of " + List.of(order) + ": " + Arrays.toString(y));
          }
        }
      }
    }
  }

  private static float[] normcore() {
    try (NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 5, 4);
        RmsNorm norm =
            RmsNorm.builder(4)
                .epsilon(1e-5)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build()) {
      TensorView all = memory.view(DType.FLOAT32, 5, 4);
      TensorView weight = all.rows(4, 5).reshape(4).copyFrom(WEIGHT);
      norm.infer(all.rows(0, 2).copyFrom(X), weight, all.rows(2, 4));
      return all.rows(2, 4).toFloats();
    }
  }

  private static float[] pytorch() {
    Tensor x = torch.tensor(X).reshape(2, 4);
    TensorOptional weight = new TensorOptional(torch.tensor(WEIGHT));
    Tensor y = torch.rms_norm(x, new long[] {4}, weight, new DoubleOptional(1e-5));
    float[] values = new float[8];
    y.data_ptr_float().get(values);
    return values;
  }

  private static float[] expected() {
    float[] y = new float[8];
    for (int i = 0; i < 8; i++) {
      double sum = 0;
      for (int j = i / 4 * 4; j < i / 4 * 4 + 4; j++) {
        sum += (double) X[j] * X[j];
      }
      y[i] = (float) (X[i] / Math.sqrt(sum / 4 + 1e-5) * WEIGHT[i % 4]);
    }
    return y;
  }
}
