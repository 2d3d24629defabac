package org.normcore;

import org.jspecify.annotations.Nullable;

/**
 * Layer normalisation.
 *
 * <p>Per row of {@code N} elements, in the compute type {@code C}: {@code mean}, {@code var} by the
 * policy's {@link VarianceAlgorithm} (the biased variance, over {@code N}), {@code rstd =
 * 1/sqrt(var + epsilon)}, {@code xhat = (x - mean) * rstd}, and {@code y} from {@code xhat}, weight
 * and bias with the roundings of the {@link NormPolicy}; see {@link ScaleRounding}. Backward, with
 * {@code h} the gradient at {@code xhat}: {@code c1 = sum(h*xhat)/N}, {@code c2 = sum(h)/N}, {@code
 * dx = rd_I(rstd*(h - xhat*c1 - c2))}. The gradient of the weight is the sum over rows of {@code
 * dy} times the normalised value, the gradient of the bias the sum over rows of {@code dy}, both
 * summed in {@code C}. {@link Norm} describes shapes, determinism, allocation and errors.
 *
 * <pre>{@code
 * LayerNorm norm = LayerNorm.builder(768)
 *     .epsilon(1e-12).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build();
 * try (Saved saved = norm.forward(x, weight, bias, y)) {
 *   norm.backward(saved, dy,
 *       Gradients.of(dx).weight(dweight, GradientMode.WRITE).bias(dbias, GradientMode.WRITE));
 * }
 * }</pre>
 *
 * <p>Sources: Ba, Kiros and Hinton, "Layer Normalization" (2016), for the formula; the frameworks
 * listed in {@link NormPolicy} for the roundings.
 */
public final class LayerNorm extends Norm {
  private LayerNorm(Builder builder) {
    super(NormKind.LAYER_NORM, builder);
  }

  /**
   * Returns a builder for a LayerNorm over the last dimensions, of the given sizes; in the usual
   * one-dimensional form, the hidden size. Input dtype and policy must be set before {@code
   * build()}.
   */
  public static Builder builder(long... normalizedShape) {
    return new Builder(normalizedShape);
  }

  /**
   * Normalises {@code x} into {@code y} and saves what the backward needs in a new {@link Saved},
   * which the caller must close. On a CUDA device this uses the default stream; {@link
   * #forward(Operands)} takes another one.
   *
   * @param weight null if the norm has none
   * @param bias null if the norm has none
   * @throws IllegalArgumentException as {@link Norm#forward(Operands, Saved)}
   */
  public Saved forward(
      TensorView x, @Nullable TensorView weight, @Nullable TensorView bias, TensorView y) {
    return save(x, weight, bias, y);
  }

  /**
   * Normalises {@code x} into {@code y} without saving anything. Does not allocate. On a CUDA
   * device this uses the default stream; {@link #infer(Operands)} takes another one.
   *
   * @param weight null if the norm has none
   * @param bias null if the norm has none
   * @throws IllegalArgumentException as {@link Norm#infer(Operands)}
   */
  public void infer(
      TensorView x, @Nullable TensorView weight, @Nullable TensorView bias, TensorView y) {
    compute(x, weight, bias, y);
  }

  /** Builds a {@link LayerNorm}. Not thread-safe. */
  public static final class Builder extends Norm.Builder<Builder> {
    private Builder(long[] normalizedShape) {
      super(normalizedShape, Affine.WEIGHT_AND_BIAS);
    }

    @Override
    Builder self() {
      return this;
    }

    @Override
    public LayerNorm build() {
      check();
      return new LayerNorm(this);
    }
  }
}
