package org.normcore;

import org.jspecify.annotations.Nullable;

/**
 * The tensors of a forward call, by name: {@code x} and {@code y} and, as the norm has them, {@code
 * weight}, {@code bias}, the pair of the residual-fused form and the scales of an FP8 output; and
 * on a CUDA device the stream. Immutable; each method returns new operands. Keep them and pass them
 * again where nothing may be allocated.
 */
public final class Operands {
  final TensorView x;
  final TensorView y;
  final @Nullable TensorView weight;
  final @Nullable Fp8Parameter fp8Weight;
  final @Nullable TensorView bias;
  final @Nullable TensorView residual;
  final @Nullable TensorView residualOut;
  final @Nullable TensorView yScale;
  final @Nullable TensorView yAmax;
  final @Nullable TensorView yScaleInv;
  final @Nullable CudaStream stream;

  private Operands(
      TensorView x,
      TensorView y,
      @Nullable TensorView weight,
      @Nullable Fp8Parameter fp8Weight,
      @Nullable TensorView bias,
      @Nullable TensorView residual,
      @Nullable TensorView residualOut,
      @Nullable TensorView yScale,
      @Nullable TensorView yAmax,
      @Nullable TensorView yScaleInv,
      @Nullable CudaStream stream) {
    this.x = x;
    this.y = y;
    this.weight = weight;
    this.fp8Weight = fp8Weight;
    this.bias = bias;
    this.residual = residual;
    this.residualOut = residualOut;
    this.yScale = yScale;
    this.yAmax = yAmax;
    this.yScaleInv = yScaleInv;
    this.stream = stream;
  }

  /**
   * Returns operands without weight, bias and residual.
   *
   * @param x the input, {@code [.., normalizedShape]}, in the norm's input dtype
   * @param y the output, as many rows, in the norm's output dtype; may be {@code x} itself if the
   *     dtypes are of one size
   * @throws IllegalArgumentException if one is null
   */
  public static Operands of(TensorView x, TensorView y) {
    return new Operands(
        TensorView.required("x", x),
        TensorView.required("y", y),
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null,
        null);
  }

  /**
   * Returns these operands with a weight, {@code [normalizedShape]} in the norm's weight dtype;
   * null for none. Takes the place of an {@linkplain #fp8Weight(Fp8Parameter) FP8 parameter}.
   */
  public Operands weight(@Nullable TensorView weight) {
    return new Operands(
        x, y, weight, null, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with an FP8 parameter as the weight, of shape {@code [normalizedShape]}
   * on the norm's device, in place of a weight tensor; null for none. The norm computes with its
   * values in the norm's weight dtype, which is not float64: the copy that {@link
   * Fp8Parameter#dequantized} gives, made by the first call, in the call's stream. A call that
   * succeeds {@linkplain Fp8Parameter#markForward() marks} the parameter's first forward, which may
   * wait where that clears an initial value. It must not be updated before the backward has run.
   *
   * <p>Nothing orders several streams. Before they share a parameter, ask once for {@link
   * Fp8Parameter#dequantized(DType, CudaStream)} in one stream and have the others wait for it, so
   * that no call reads a copy that another's stream is still making.
   */
  public Operands fp8Weight(@Nullable Fp8Parameter fp8Weight) {
    return new Operands(
        x, y, null, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with a bias, {@code [normalizedShape]} in the norm's weight dtype; null
   * for none.
   */
  public Operands bias(@Nullable TensorView bias) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands in the residual-fused form: {@code x + residual} is normalised, and its
   * value rounded to the input's dtype is stored in {@code residualOut}. Both have the rows, shape
   * and dtype of {@code x}; {@code residualOut} may be {@code x} or {@code residual} itself.
   *
   * @throws IllegalArgumentException if one is null
   */
  public Operands residual(TensorView residual, TensorView residualOut) {
    return new Operands(
        x,
        y,
        weight,
        fp8Weight,
        bias,
        TensorView.required("residual", residual),
        TensorView.required("residualOut", residualOut),
        yScale,
        yAmax,
        yScaleInv,
        stream);
  }

  /**
   * Returns these operands with the scale of an FP8 output, one float32 number, {@code y = rd(v *
   * yScale)}: for {@link Fp8Scaling#TENSOR}, where it is needed, and for nothing else. It should be
   * positive, finite and normal, and is not looked at. Read when the norm runs, so that what the
   * last step has made of its amax (delayed scaling) can be in the same memory. Null for none.
   */
  public Operands yScale(@Nullable TensorView yScale) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with where the largest {@code |v|} before scaling goes, one float32
   * number, NaN left out: for {@link Fp8Scaling#TENSOR} only. It is raised, not overwritten, so
   * several calls, also at once, can share one; zero it first. A value of compute type float64 is
   * rounded to float32. Null for none.
   */
  public Operands yAmax(@Nullable TensorView yAmax) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with where the inverse scales of an FP8 output go, by which it is
   * multiplied to get back the values, contiguous. {@link Fp8Scaling#ROW}: {@code [rows]} in
   * float32. {@link Fp8Scaling#BLOCK}: {@code [rows, ceil(N / 32)]} in {@link DType#FLOAT8_E8M0}.
   * Needed for these, and for nothing else. Null for none.
   */
  public Operands yScaleInv(@Nullable TensorView yScaleInv) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with the stream that the work goes into, of the norm's device; null for
   * the device's default stream. The memory of all tensors must stay valid until the stream has
   * done the work. A norm on the CPU takes none.
   */
  public Operands stream(@Nullable CudaStream stream) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /** Returns the input. */
  public TensorView x() {
    return x;
  }

  /** Returns the output. */
  public TensorView y() {
    return y;
  }

  /** Returns the weight, or null; null too if that is an FP8 parameter. */
  public @Nullable TensorView weight() {
    return weight;
  }

  /** Returns the FP8 parameter that is the weight, or null. */
  public @Nullable Fp8Parameter fp8Weight() {
    return fp8Weight;
  }

  /** Returns the bias, or null. */
  public @Nullable TensorView bias() {
    return bias;
  }

  /** Returns what is added to the input, or null. */
  public @Nullable TensorView residual() {
    return residual;
  }

  /** Returns where the rounded sum is stored, or null. */
  public @Nullable TensorView residualOut() {
    return residualOut;
  }

  /** Returns the scale of an FP8 output, or null. */
  public @Nullable TensorView yScale() {
    return yScale;
  }

  /** Returns where an FP8 output's amax goes, or null. */
  public @Nullable TensorView yAmax() {
    return yAmax;
  }

  /** Returns where an FP8 output's inverse scales go, or null. */
  public @Nullable TensorView yScaleInv() {
    return yScaleInv;
  }

  /** Returns the stream, or null for the device's default stream and on the CPU. */
  public @Nullable CudaStream stream() {
    return stream;
  }

  /** Names what is there. */
  @Override
  public String toString() {
    return "Operands(x="
        + x
        + ", y="
        + y
        + (weight == null ? "" : ", weight=" + weight)
        + (fp8Weight == null ? "" : ", weight=" + fp8Weight)
        + (bias == null ? "" : ", bias=" + bias)
        + (residual == null ? "" : ", residual=" + residual + ", residualOut=" + residualOut)
        + (yScale == null ? "" : ", yScale=" + yScale)
        + (yAmax == null ? "" : ", yAmax=" + yAmax)
        + (yScaleInv == null ? "" : ", yScaleInv=" + yScaleInv)
        + (stream == null ? "" : ", stream=" + stream)
        + ")";
  }
}
