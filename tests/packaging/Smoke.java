import static java.nio.charset.StandardCharsets.UTF_8;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.normcore.Cuda;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.RotarySpec;
import org.normcore.TensorView;

/**
 * A user's program: computes one row of RMSNorm, reads a model's configuration, then checks the
 * paths of the loaded libraries and the availability of CUDA.
 */
final class Smoke {
  private Smoke() {}

  public static void main(String[] arguments) throws Exception {
    Path cache = Path.of(arguments[0]);
    boolean plugin = arguments[1].equals("plugin");
    try (NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 3, 2);
        RmsNorm norm =
            RmsNorm.builder(2)
                .epsilon(0)
                .input(DType.FLOAT32)
                .policy(NormPolicy.HUGGING_FACE_LLAMA)
                .build()) {
      TensorView all = memory.view(DType.FLOAT32, 3, 2);
      TensorView x = all.rows(0, 1).copyFrom(new float[] {7, 1});
      TensorView weight = all.rows(1, 2).reshape(2).copyFrom(new float[] {1, 2});
      TensorView y = all.rows(2, 3);
      norm.infer(x, weight, y);
      float[] result = y.toFloats();
      // The mean square is 25.
      expect(
          Math.abs(result[0] - 1.4f) < 1e-6f && Math.abs(result[1] - 0.4f) < 1e-6f, "y is wrong");
    }
    // Reads JSON with a library that is a dependency of the jar.
    RotarySpec spec = RotarySpec.fromConfig("{\"head_dim\": 4, \"rope_theta\": 100}");
    expect(Math.abs(spec.inverseFrequencies()[1] - 0.1) < 1e-15, "the frequency is wrong");
    List<String> mapped =
        Files.readAllLines(Path.of("/proc/self/maps"), UTF_8).stream()
            .filter(line -> line.matches(".*normcore(_cuda)?\\.so"))
            .map(line -> line.substring(line.indexOf('/')))
            .distinct()
            .collect(Collectors.toList());
    expect(
        mapped.size() == (plugin ? 3 : 2),
        "expected libnormcore.so, libjninormcore.so"
            + (plugin ? " and libnormcore_cuda.so" : "")
            + ", mapped are "
            + mapped);
    for (String library : mapped) {
      expect(Path.of(library).startsWith(cache), library + " was not loaded from the jar");
    }
    if (plugin) {
      // The plugin's CUDA runtime also reports a missing driver.
      expect(Cuda.isAvailable() || cause().contains("cudaError"), cause());
    } else {
      expect(!Cuda.isAvailable() && cause().contains("linux-x86_64-gpu"), cause());
    }
  }

  private static String cause() {
    Throwable cause = Cuda.unavailabilityCause();
    return cause == null ? "CUDA is available" : String.valueOf(cause.getMessage());
  }

  private static void expect(boolean condition, String message) {
    if (!condition) {
      throw new AssertionError(message);
    }
  }
}
