package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.normcore.DType;
import org.normcore.LayerNorm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;

/** A small transformer trains with our norms as it does with PyTorch's. */
@Tag("frameworks")
class PyTorchTrainingTest {
  private static final int STEPS = 200;
  private static final double EPSILON = 1e-5;
  private static final long[] SHAPE = {CharModel.HIDDEN};

  /**
   * In float32 the two differ by the order of sums, that is by the last bit of some numbers in each
   * step. The effect of one bit on the loss is measured with PyTorch's norms and one parameter
   * changed to the next float32. Ours change many bits in each step, so the tolerance is ten times
   * that effect. Measured here: 3.2e-7 of the loss, 2.4e-7 for the changed bit.
   */
  @Test
  void inFloat32TheLossesAreTheSameToRounding() {
    torch.set_num_threads(1);
    double[] theirs = losses(PyTorchTrainingTest::theirs, false);
    double[] moved = losses(PyTorchTrainingTest::theirs, true);
    double[] ours;
    try (RmsNorm rms =
            RmsNorm.builder(SHAPE)
                .epsilon(EPSILON)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build();
        LayerNorm layer =
            LayerNorm.builder(SHAPE)
                .epsilon(EPSILON)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build()) {
      ours =
          losses(
              (kind, x, weight, bias) ->
                  PyTorch.apply(kind == NormKind.RMS_NORM ? rms : layer, x, weight, bias),
              false);
    }
    assertEquals(0, PyTorchNode.live());
    assertTrue(theirs[STEPS - 1] < theirs[0] / 2, "learns: " + theirs[STEPS - 1]);
    double bit = 0;
    double difference = 0;
    for (int i = 0; i < STEPS; i++) {
      bit = Math.max(bit, Math.abs(moved[i] - theirs[i]) / theirs[i]);
      difference = Math.max(difference, Math.abs(ours[i] - theirs[i]) / theirs[i]);
    }
    assertTrue(bit > 0, "the moved bit changes the loss");
    String text = "differs by " + difference + " of the loss, one bit makes " + bit;
    assertTrue(difference <= 10 * bit && difference <= 1e-5, text);
  }

  private static double[] losses(CharModel.NormFunction norm, boolean isMoved) {
    double[] losses = new double[STEPS];
    try (CharModel model = new CharModel(ScalarType.Float, NormKind.LAYER_NORM, 1)) {
      if (isMoved) {
        model.nudge();
      }
      for (int i = 0; i < STEPS; i++) {
        losses[i] = model.step(norm);
      }
    }
    return losses;
  }

  private static Tensor theirs(NormKind kind, Tensor x, Tensor weight, Tensor bias) {
    return kind == NormKind.RMS_NORM
        ? torch.rms_norm(x, SHAPE, new TensorOptional(weight), new DoubleOptional(EPSILON))
        : torch.layer_norm(
            x, SHAPE, new TensorOptional(weight), new TensorOptional(bias), EPSILON, false);
  }
}
