package org.normcore;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * The output tensors of a backward call, by name and, on a CUDA device, the stream. Absent
 * gradients are not computed. Immutable; each method returns a new object. To avoid allocation,
 * keep an object and pass it again.
 *
 * <pre>{@code
 * try (RmsNorm norm =
 *         RmsNorm.builder(2).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build();
 *     NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 4, 2).zero()) {
 *   TensorView all = memory.view(DType.FLOAT32, 4, 2);
 *   TensorView x = all.rows(0, 1).copyFrom(new float[] {3, 4});
 *   TensorView weight = all.rows(1, 2).reshape(2).copyFrom(new float[] {1, 1});
 *   TensorView y = all.rows(2, 3);
 *   TensorView dweight = all.rows(3, 4).reshape(2);
 *   try (Saved saved = norm.forward(x, weight, y)) {   // here y is also dy and dx
 *     norm.backward(saved, y, Gradients.of(y).weight(dweight, GradientMode.ACCUMULATE));
 *   }
 *   System.out.println(dweight.toFloats()[0]);         // 0.71999943
 * }
 * }</pre>
 */
public final class Gradients {
  private static final Gradients NONE =
      new Gradients(null, null, GradientMode.WRITE, null, GradientMode.WRITE, null, null);

  final @Nullable TensorView dx;
  final @Nullable TensorView dweight;
  final GradientMode weightMode;
  final @Nullable TensorView dbias;
  final GradientMode biasMode;
  final @Nullable TensorView dresidual;
  final @Nullable CudaStream stream;

  private Gradients(
      @Nullable TensorView dx,
      @Nullable TensorView dweight,
      GradientMode weightMode,
      @Nullable TensorView dbias,
      GradientMode biasMode,
      @Nullable TensorView dresidual,
      @Nullable CudaStream stream) {
    this.dx = dx;
    this.dweight = dweight;
    this.weightMode = weightMode;
    this.dbias = dbias;
    this.biasMode = biasMode;
    this.dresidual = dresidual;
    this.stream = stream;
  }

  /**
   * Returns gradients with only {@code dx}.
   *
   * @param dx the gradient of the input (in the residual-fused form: of the sum, and so of both its
   *     terms), with the rows, shape and dtype of {@code x}; may be {@code dy}, {@code x} or the
   *     residual's gradient, in place, if the dtypes have the same size
   * @throws IllegalArgumentException if it is null
   */
  public static Gradients of(TensorView dx) {
    return NONE.input(TensorView.required("dx", dx));
  }

  /** Returns an empty object, to start from if {@code dx} is not needed. */
  public static Gradients none() {
    return NONE;
  }

  private Gradients input(TensorView dx) {
    return new Gradients(dx, dweight, weightMode, dbias, biasMode, dresidual, stream);
  }

  /**
   * Returns these gradients plus the weight's.
   *
   * @param dweight {@code [normalizedShape]}, in the weight's dtype or float32; float32 for {@link
   *     GradientMode#ACCUMULATE}
   * @throws IllegalArgumentException if it is null
   */
  public Gradients weight(TensorView dweight, GradientMode mode) {
    Objects.requireNonNull(mode, "mode: null; expected a GradientMode");
    return new Gradients(
        dx, TensorView.required("dweight", dweight), mode, dbias, biasMode, dresidual, stream);
  }

  /**
   * Returns these gradients plus the bias's.
   *
   * @param dbias {@code [normalizedShape]}, in the weight's dtype or float32; float32 for {@link
   *     GradientMode#ACCUMULATE}
   * @throws IllegalArgumentException if it is null
   */
  public Gradients bias(TensorView dbias, GradientMode mode) {
    Objects.requireNonNull(mode, "mode: null; expected a GradientMode");
    return new Gradients(
        dx, dweight, weightMode, TensorView.required("dbias", dbias), mode, dresidual, stream);
  }

  /**
   * Returns these gradients with the incoming gradient of the residual sum. The backward reads it
   * and adds it to {@code dx} before the rounding of {@code dx}.
   *
   * @param dresidual the gradient of {@code residualOut}, with the rows, shape and dtype of {@code
   *     x}
   * @throws IllegalArgumentException if it is null
   */
  public Gradients residual(TensorView dresidual) {
    return new Gradients(
        dx,
        dweight,
        weightMode,
        dbias,
        biasMode,
        TensorView.required("dresidual", dresidual),
        stream);
  }

  /**
   * Returns these gradients with a stream of the norm's device; null for the default stream. The
   * backward must run after the forward: in the same stream, or in one that waits for it. All
   * tensors must stay valid until the stream has completed the work. Must be null for a norm on the
   * CPU.
   */
  public Gradients stream(@Nullable CudaStream stream) {
    return new Gradients(dx, dweight, weightMode, dbias, biasMode, dresidual, stream);
  }

  /** Returns the tensor for the input's gradient, or null. */
  public @Nullable TensorView dx() {
    return dx;
  }

  /** Returns the tensor for the weight's gradient, or null. */
  public @Nullable TensorView dweight() {
    return dweight;
  }

  /** Returns the tensor for the bias's gradient, or null. */
  public @Nullable TensorView dbias() {
    return dbias;
  }

  /** Returns the incoming gradient of the residual sum, or null. */
  public @Nullable TensorView dresidual() {
    return dresidual;
  }

  /** Returns the stream, or null for the device's default stream and on the CPU. */
  public @Nullable CudaStream stream() {
    return stream;
  }

  /** Lists the gradients that are present. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder("Gradients(");
    append(text, "dx", dx, "");
    append(text, "dweight", dweight, " " + weightMode);
    append(text, "dbias", dbias, " " + biasMode);
    append(text, "dresidual", dresidual, "");
    append(text, "stream", stream, "");
    return text.append(')').toString();
  }

  private static void append(StringBuilder text, String name, @Nullable Object value, String mode) {
    if (value != null) {
      text.append(text.charAt(text.length() - 1) == '(' ? "" : ", ")
          .append(name)
          .append('=')
          .append(value)
          .append(mode);
    }
  }
}
