package org.normcore.frameworks;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.global.torch;
import org.normcore.DType;
import org.normcore.LayerNorm;
import org.normcore.NormPolicy;

/**
 * Rounds of {@link PyTorchTest}, run in a separate JVM with a heap of fixed size. Prints whether
 * the CUDA presets are present, and the growth of the process in bytes over rounds of forward and
 * backward and over forwards whose graph is dropped.
 */
final class PyTorchRounds {
  private static final int N = 8;

  private PyTorchRounds() {}

  public static void main(String[] arguments) throws IOException {
    int rounds = Integer.parseInt(arguments[0]);
    torch.set_num_threads(1);
    try (LayerNorm norm =
        LayerNorm.builder(N).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build()) {
      Tensor x = torch.randn(1, N).set_requires_grad(true);
      Tensor weight = torch.ones(N).set_requires_grad(true);
      Tensor bias = torch.ones(N).set_requires_grad(true);
      Tensor dy = torch.randn(1, N);
      for (boolean withBackward : new boolean[] {true, false}) {
        run(rounds, norm, x, weight, bias, dy, withBackward);
        long before = residentBytes();
        run(rounds, norm, x, weight, bias, dy, withBackward);
        System.out.println("grown\t" + (residentBytes() - before));
      }
    }
    System.out.println("live\t" + PyTorchNode.live());
    System.out.println("presets\t" + hasPresets());
  }

  @SuppressWarnings("try")
  private static void run(
      int rounds,
      LayerNorm norm,
      Tensor x,
      Tensor weight,
      Tensor bias,
      Tensor dy,
      boolean withBackward) {
    for (int i = 0; i < rounds; i++) {
      try (PointerScope scope = new PointerScope()) {
        Tensor y = PyTorch.apply(norm, x.mul(new Scalar(2)), weight, bias);
        if (withBackward) {
          y.backward(dy, new BoolOptional(), false, new TensorArrayRefOptional());
        }
      }
    }
  }

  private static boolean hasPresets() {
    try {
      Class.forName("org.bytedeco.cuda.cudart.CUstream_st");
      return true;
    } catch (ClassNotFoundException e) {
      return false;
    }
  }

  private static long residentBytes() throws IOException {
    System.gc();
    String[] pages = Files.readString(Path.of("/proc/self/statm")).trim().split(" ");
    return Long.parseLong(pages[1]) * 4096;
  }
}
