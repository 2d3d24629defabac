package org.normcore.bench;

import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.Norm;
import org.normcore.NormPolicy;
import org.normcore.Normcore;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.VectorLevel;

/** This library, through its public interface. */
final class Ours implements Library {
  static final String NAME = "Normcore";

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String version() {
    return Normcore.version() + ", vector level " + Names.of(VectorLevel.best());
  }

  @Override
  public Contender prepare(Workload workload, Tensors tensors) {
    return new Prepared(workload, tensors);
  }

  private static Norm norm(Workload workload) {
    return (workload.isLayerNorm()
            ? LayerNorm.builder(workload.shape().hiddenSize())
            : RmsNorm.builder(workload.shape().hiddenSize()))
        .epsilon(Tensors.EPSILON)
        .input(workload.dtype())
        .weight(workload.weightType())
        .policy(NormPolicy.PYTORCH)
        .threads(workload.threads())
        .build();
  }

  private static final class Prepared implements Contender {
    private final Direction direction;
    private final Norm norm;
    private final Saved saved;
    private final Operands operands;
    private final TensorView dy;
    private final Gradients gradients;

    Prepared(Workload workload, Tensors tensors) {
      this.direction = workload.direction();
      this.norm = norm(workload);
      this.saved = norm.newSaved(workload.shape().rows());
      Operands plain = Operands.of(tensors.x(), tensors.y()).weight(tensors.weight());
      Operands affine = workload.isLayerNorm() ? plain.bias(tensors.bias()) : plain;
      this.operands =
          direction == Direction.RESIDUAL
              ? affine.residual(tensors.residual(), tensors.sum())
              : affine;
      this.dy = tensors.dy();
      Gradients both = Gradients.of(tensors.dx()).weight(tensors.dweight(), GradientMode.WRITE);
      this.gradients =
          workload.isLayerNorm() ? both.bias(tensors.dbias(), GradientMode.WRITE) : both;
      norm.forward(operands, saved);
    }

    @Override
    public void run() {
      switch (direction) {
        case INFERENCE -> norm.infer(operands);
        case FORWARD, RESIDUAL -> norm.forward(operands, saved);
        case BACKWARD -> norm.backward(saved, dy, gradients);
      }
    }

    @Override
    public void close() {
      saved.close();
      norm.close();
    }
  }
}
