package org.normcore.oracle;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.normcore.DType;
import org.normcore.GammaOffset;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.testing.Arena;
import org.normcore.testing.Bits;
import org.normcore.testing.Reference;
import org.normcore.testing.Values;

/**
 * The gradients of weight and bias are sums over all rows. They are within one rounding of the
 * exact sums, also where PyTorch, which accumulates in bfloat16, has large errors.
 */
class ColumnSumTest {
  private static final int ROWS = 4096;
  private static final int N = 1024;
  private static final double EPSILON = 1e-5;

  /**
   * The float32 error in addition to the one rounding, relative to the sum of the terms'
   * magnitudes: a sum has at most 16 rows of a group, 4 levels of row slots and 8 of groups, and
   * xhat has 4 roundings.
   */
  private static final double FLOAT32_SUM = 32 * Math.scalb(1, -24);

  @Test
  void withinOneRoundingOfTheExactSum() {
    DType bf16 = DType.BFLOAT16;
    try (Arena arena = new Arena();
        LayerNorm norm =
            LayerNorm.builder(N).epsilon(EPSILON).input(bf16).policy(NormPolicy.PYTORCH).build()) {
      TensorView x = arena.tensor(bf16, Values.normal(1, (long) ROWS * N), ROWS, N);
      TensorView weight = arena.tensor(bf16, Values.normal(2, N, 1, 0.5), N);
      TensorView bias = arena.tensor(bf16, Values.normal(3, N, 0, 0.5), N);
      TensorView y = arena.tensor(bf16, ROWS, N);
      TensorView dy = arena.tensor(bf16, Values.normal(4, (long) ROWS * N, 0.3, 1), ROWS, N);
      TensorView dx = arena.tensor(bf16, ROWS, N);
      TensorView dweight = arena.tensor(bf16, N);
      TensorView dbias = arena.tensor(bf16, N);
      try (Saved saved = norm.forward(x, weight, bias, y)) {
        norm.backward(
            saved,
            dy,
            Gradients.of(dx).weight(dweight, GradientMode.WRITE).bias(dbias, GradientMode.WRITE));
      }

      double[] gradient = dy.toDoubles();
      double[] gamma = weight.toDoubles();
      Reference.Forward forward =
          Reference.forward(
              NormKind.LAYER_NORM, N, EPSILON, GammaOffset.NONE, x.toDoubles(), gamma, null);
      Reference.Backward exact =
          Reference.backward(NormKind.LAYER_NORM, N, GammaOffset.NONE, forward, gamma, gradient);
      double[] weightTerms = new double[N];
      double[] biasTerms = new double[N];
      for (int i = 0; i < gradient.length; i++) {
        weightTerms[i % N] += Math.abs(gradient[i] * forward.xhat()[i]);
        biasTerms[i % N] += Math.abs(gradient[i]);
      }
      assertOneRounding("dweight", dweight.toDoubles(), exact.dweight(), weightTerms);
      assertOneRounding("dbias", dbias.toDoubles(), exact.dbias(), biasTerms);

      Torch.scoped(
          () -> {
            Tensor w = Torch.leaf(weight);
            Tensor b = Torch.leaf(bias);
            Tensor xs = Torch.leaf(x);
            Torch.backward(Torch.layerNorm(xs, null, w, b, EPSILON), Torch.copy(dy));
            double offWeight =
                relativeDistance(Torch.view(w.grad(), bf16, N).toDoubles(), exact.dweight());
            double offBias =
                relativeDistance(Torch.view(b.grad(), bf16, N).toDoubles(), exact.dbias());
            System.out.printf(
                "bfloat16 LayerNorm backward, %dx%d, mean(dy) = 0.3, relative L2 distance from the"
                    + " exact sums: dweight %.2g (PyTorch %.2g), dbias %.2g (PyTorch %.2g)%n",
                ROWS,
                N,
                relativeDistance(dweight.toDoubles(), exact.dweight()),
                offWeight,
                relativeDistance(dbias.toDoubles(), exact.dbias()),
                offBias);
          });
    }
  }

  private static void assertOneRounding(
      String tensor, double[] actual, double[] exact, double[] terms) {
    for (int i = 0; i < actual.length; i++) {
      double bound = Bits.ulp(DType.BFLOAT16, exact[i]) / 2 + FLOAT32_SUM * terms[i];
      assertTrue(
          Math.abs(actual[i] - exact[i]) <= bound,
          "%s[%d]: %s, exact sum %s".formatted(tensor, i, actual[i], exact[i]));
    }
  }

  private static double relativeDistance(double[] actual, double[] exact) {
    double off = 0;
    double all = 0;
    for (int i = 0; i < actual.length; i++) {
      off += (actual[i] - exact[i]) * (actual[i] - exact[i]);
      all += exact[i] * exact[i];
    }
    return Math.sqrt(off / all);
  }
}
