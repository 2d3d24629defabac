package org.normcore;

import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Which gradients a backward call computes and where they go, by name; and on a CUDA device the
 * stream. What is absent is not computed. Immutable; each method returns new gradients. Keep them
 * and pass them again where nothing may be allocated.
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
   * Returns gradients with {@code dx} only.
   *
   * @param dx the gradient of the input (in the residual-fused form: of the sum, hence of both its
   *     terms), with the rows, shape and dtype of {@code x}; may be {@code dy}, {@code x} or the
   *     residual's gradient in place if the dtypes are of one size
   * @throws IllegalArgumentException if it is null
   */
  public static Gradients of(TensorView dx) {
    return NONE.input(TensorView.required("dx", dx));
  }

  /** Returns gradients with nothing in them, to start from where {@code dx} is not wanted. */
  public static Gradients none() {
    return NONE;
  }

  private Gradients input(TensorView dx) {
    return new Gradients(dx, dweight, weightMode, dbias, biasMode, dresidual, stream);
  }

  /**
   * Returns these gradients with that of the weight.
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
   * Returns these gradients with that of the bias.
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
   * Returns these gradients with the incoming gradient of the residual sum, which is added to
   * {@code dx} before its one rounding. An input of the backward, not an output.
   *
   * @param dresidual the gradient that reaches {@code residualOut}, with the rows, shape and dtype
   *     of {@code x}
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
   * Returns these gradients with the stream that the work goes into, of the norm's device; null for
   * the device's default stream. It must come after the forward's work: the same stream, or one
   * that waits for it. The memory of all tensors must stay valid until the stream has done the
   * work. A norm on the CPU takes none.
   */
  public Gradients stream(@Nullable CudaStream stream) {
    return new Gradients(dx, dweight, weightMode, dbias, biasMode, dresidual, stream);
  }

  /** Returns where the input's gradient goes, or null if it is not wanted. */
  public @Nullable TensorView dx() {
    return dx;
  }

  /** Returns where the weight's gradient goes, or null if it is not wanted. */
  public @Nullable TensorView dweight() {
    return dweight;
  }

  /** Returns where the bias's gradient goes, or null if it is not wanted. */
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

  /** Names what is there. */
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
