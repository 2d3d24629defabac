package org.normcore;

import org.jspecify.annotations.Nullable;

/**
 * Root mean square normalisation.
 *
 * <p>Per row of {@code N} elements, in the compute type {@code C}: {@code ms = sum(x*x)/N}, {@code
 * rstd = 1/sqrt(ms + epsilon)}, {@code xhat = x * rstd}, and {@code y} from {@code xhat}, weight
 * and bias with the roundings of the {@link NormPolicy}; see {@link ScaleRounding}. Backward, with
 * {@code h} the gradient at {@code xhat}: {@code c1 = sum(h*xhat)/N}, {@code dx = rd_I(rstd*(h -
 * xhat*c1))}. The gradient of the weight is the sum over rows of {@code dy} times the normalised
 * value, the gradient of the bias the sum over rows of {@code dy}, both summed in {@code C}. {@link
 * Norm} describes shapes, determinism, allocation and errors.
 *
 * <pre>{@code
 * RmsNorm norm = RmsNorm.builder(4096)
 *     .epsilon(1e-5).input(DType.BFLOAT16).policy(NormPolicy.HUGGING_FACE_LLAMA).build();
 * try (Saved saved = norm.forward(x, weight, y)) {
 *   norm.backward(saved, dy, Gradients.of(dx).weight(dweight, GradientMode.ACCUMULATE));
 * }
 * }</pre>
 *
 * <p>Sources: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019), for the formula;
 * the frameworks listed in {@link NormPolicy} for the roundings.
 */
public final class RmsNorm extends Norm {
  private RmsNorm(Builder builder) {
    super(NormKind.RMS_NORM, builder);
  }

  /**
   * Returns a builder for an RMSNorm over the last dimensions, of the given sizes; in the usual
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
   * @throws IllegalArgumentException as {@link Norm#forward(Operands, Saved)}
   */
  public Saved forward(TensorView x, @Nullable TensorView weight, TensorView y) {
    return save(x, weight, null, y);
  }

  /**
   * Normalises {@code x} into {@code y} without saving anything. Does not allocate. On a CUDA
   * device this uses the default stream; {@link #infer(Operands)} takes another one.
   *
   * @param weight null if the norm has none
   * @throws IllegalArgumentException as {@link Norm#infer(Operands)}
   */
  public void infer(TensorView x, @Nullable TensorView weight, TensorView y) {
    compute(x, weight, null, y);
  }

  /** Builds an {@link RmsNorm}. Not thread-safe. */
  public static final class Builder extends Norm.Builder<Builder> {
    private Builder(long[] normalizedShape) {
      super(normalizedShape, Affine.WEIGHT);
    }

    @Override
    Builder self() {
      return this;
    }

    @Override
    public RmsNorm build() {
      check();
      return new RmsNorm(this);
    }
  }
}
