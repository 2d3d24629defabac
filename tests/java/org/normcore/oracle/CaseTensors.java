package org.normcore.oracle;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.testing.Arena;
import org.normcore.testing.Values;

/**
 * One set of tensors, computed by Normcore under a policy and by PyTorch through a sequence of
 * operations. Weight and bias are near 1 and 0 or, if the policy adds 1 to the weight, near 0, with
 * random digits in all places.
 */
final class CaseTensors implements AutoCloseable {
  static final double EPSILON = 1e-5;

  /** Output and gradients; {@code dbias} is null where there is no bias. */
  record Result(TensorView y, TensorView dx, TensorView dweight, TensorView dbias) {}

  private final Arena arena = new Arena();
  private final NormKind kind;
  private final long rows;
  private final long n;
  private final DType input;
  private final DType weightType;
  private final boolean residualForm;

  private final TensorView x;
  private final TensorView residual;
  private final TensorView weight;
  private final TensorView bias;
  private final double[] gradient;
  private final TensorView dresidual;

  CaseTensors(
      NormKind kind,
      long rows,
      long n,
      DType input,
      DType weightType,
      double weightMean,
      boolean residualForm,
      long seed) {
    this.kind = kind;
    this.rows = rows;
    this.n = n;
    this.input = input;
    this.weightType = weightType;
    this.residualForm = residualForm;
    x = arena.tensor(input, Values.normal(seed, rows * n), rows, n);
    residual = arena.tensor(input, Values.normal(seed + 1, rows * n), rows, n);
    weight = arena.tensor(weightType, Values.normal(seed + 2, n, weightMean, 0.5), n);
    bias = arena.tensor(weightType, Values.normal(seed + 3, n, 0, 0.5), n);
    gradient = Values.normal(seed + 4, rows * n);
    dresidual = arena.tensor(input, Values.normal(seed + 5, rows * n), rows, n);
  }

  /** Runs Normcore. */
  Result normcore(NormPolicy policy) {
    boolean layer = kind == NormKind.LAYER_NORM;
    Norm.Builder<?> builder = layer ? LayerNorm.builder(n) : RmsNorm.builder(n);
    builder
        .epsilon(EPSILON)
        .input(input)
        .weight(weightType)
        .affine(layer ? Affine.WEIGHT_AND_BIAS : Affine.WEIGHT)
        .policy(policy);
    try (Norm norm = builder.build()) {
      TensorView y = arena.tensor(norm.outputDType(), rows, n);
      TensorView dy = arena.tensor(norm.outputDType(), gradient, rows, n);
      TensorView dx = arena.tensor(input, rows, n);
      TensorView dweight = arena.tensor(weightType, n);
      TensorView dbias = layer ? arena.tensor(weightType, n) : null;
      Operands operands = Operands.of(x, y).weight(weight).bias(layer ? bias : null);
      Gradients gradients = Gradients.of(dx).weight(dweight, GradientMode.WRITE);
      if (layer) {
        gradients = gradients.bias(dbias, GradientMode.WRITE);
      }
      if (residualForm) {
        operands = operands.residual(residual, arena.tensor(input, rows, n));
        gradients = gradients.residual(dresidual);
      }
      try (Saved saved = norm.forward(operands)) {
        norm.backward(saved, dy, gradients);
      }
      return new Result(y, dx, dweight, dbias);
    }
  }

  /** Runs PyTorch. The result is in this object's memory. */
  Result torch(Torch.Sequence sequence) {
    Result[] result = new Result[1];
    Torch.scoped(
        () -> {
          Tensor x = Torch.leaf(this.x);
          Tensor weight = Torch.leaf(this.weight);
          Tensor bias = kind == NormKind.LAYER_NORM ? Torch.leaf(this.bias) : null;
          Tensor source = residualForm ? x.add(Torch.copy(residual)) : x;
          Tensor hidden = source.to(ScalarType.Float);
          Tensor y = sequence.apply(source, hidden, weight, bias, EPSILON);
          DType output = Torch.is(y, input) ? input : weightType;
          Tensor dy = Torch.copy(arena.tensor(output, gradient, rows, n));
          if (residualForm) {
            // The sum is also the next layer's residual. With the converted sum as its source, that
            // gradient is added before any rounding, as in the fused form.
            Tensor first = y.mul(dy).to(ScalarType.Float).sum();
            Tensor second = hidden.mul(Torch.copy(dresidual)).sum();
            first.add(second).backward();
          } else {
            Torch.backward(y, dy);
          }
          result[0] =
              new Result(
                  keep(y, output, rows, n),
                  keep(x.grad(), input, rows, n),
                  keep(weight.grad(), weightType, n),
                  bias == null ? null : keep(bias.grad(), weightType, n));
        });
    return result[0];
  }

  private TensorView keep(Tensor tensor, DType dtype, long... shape) {
    return arena.tensor(dtype, shape).copyFrom(Torch.view(tensor, dtype, shape));
  }

  @Override
  public void close() {
    arena.close();
  }
}
