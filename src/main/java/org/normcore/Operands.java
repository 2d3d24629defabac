package org.normcore;

import org.jspecify.annotations.Nullable;

/**
 * The tensors of a forward call, by name: {@code x}, {@code y} and, depending on the norm, {@code
 * weight}, {@code bias}, the residual pair and the scales of an FP8 output; on a CUDA device also
 * the stream. Immutable; each method returns new operands. To avoid allocation, keep an object and
 * pass it again.
 *
 * <pre>{@code
 * try (RmsNorm norm =
 *         RmsNorm.builder(2).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build();
 *     NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 4, 2)) {
 *   TensorView all = memory.view(DType.FLOAT32, 4, 2);
 *   TensorView x = all.rows(0, 1).copyFrom(new float[] {1, 2});
 *   TensorView residual = all.rows(1, 2).copyFrom(new float[] {2, 2});
 *   TensorView weight = all.rows(2, 3).reshape(2).copyFrom(new float[] {1, 1});
 *   TensorView y = all.rows(3, 4);
 *   norm.infer(Operands.of(x, y).weight(weight).residual(residual, residual));
 *   System.out.println(residual.toFloats()[0]);   // 3.0, the sum
 *   System.out.println(y.toFloats()[0]);          // 0.8485278, the normalised sum
 * }
 * }</pre>
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
   * @param y the output, with the same number of rows, in the norm's output dtype; may be {@code x}
   *     itself if the dtypes have the same size
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
   * null for none. Replaces an {@linkplain #fp8Weight(Fp8Parameter) FP8 parameter}.
   */
  public Operands weight(@Nullable TensorView weight) {
    return new Operands(
        x, y, weight, null, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with an FP8 parameter as the weight, of shape {@code [normalizedShape]}
   * on the norm's device; null for none. Replaces a weight tensor. The norm reads the copy of
   * {@link Fp8Parameter#dequantized} in its weight dtype, which must not be float64; the first call
   * creates that copy in its stream. A successful call {@linkplain Fp8Parameter#markForward()
   * marks} the parameter as used, which may wait if that clears an initial value. Do not update the
   * parameter before the backward has run.
   *
   * <p>Streams are not ordered. Before several streams share a parameter, call {@link
   * Fp8Parameter#dequantized(DType, CudaStream)} in one stream and make the others wait for it;
   * otherwise a call may read a copy that another stream is still writing.
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
   * Returns these operands in the residual-fused form: the norm normalises {@code x + residual} and
   * stores the sum, rounded to the input dtype, in {@code residualOut}. Both have the rows, shape
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
   * Returns these operands with the scale of an FP8 output, one float32 number: {@code y = rd(v *
   * yScale)}. Required for {@link Fp8Scaling#TENSOR}, otherwise null. It should be positive, finite
   * and normal; this is not checked. The kernel reads it when it runs, so the previous step may
   * write the scale it derives from its amax (delayed scaling) to the same memory.
   */
  public Operands yScale(@Nullable TensorView yScale) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with a float32 number for the amax of an FP8 output, the largest {@code
   * |v|} before scaling, ignoring NaN. Only for {@link Fp8Scaling#TENSOR}; null for none. The call
   * takes the maximum with the present value, so several calls, also concurrent ones, can use the
   * same number; zero it first. A float64 value is rounded to float32.
   */
  public Operands yAmax(@Nullable TensorView yAmax) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with a contiguous tensor for the inverse scales of an FP8 output, the
   * factors that dequantise it. {@link Fp8Scaling#ROW}: {@code [rows]} in float32. {@link
   * Fp8Scaling#BLOCK}: {@code [rows, ceil(N / 32)]} in {@link DType#FLOAT8_E8M0}. Required for
   * these two, otherwise null.
   */
  public Operands yScaleInv(@Nullable TensorView yScaleInv) {
    return new Operands(
        x, y, weight, fp8Weight, bias, residual, residualOut, yScale, yAmax, yScaleInv, stream);
  }

  /**
   * Returns these operands with a stream of the norm's device; null for the default stream. All
   * tensors must stay valid until the stream has completed the work. Must be null for a norm on the
   * CPU.
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

  /** Returns the weight tensor, or null, also if the weight is an FP8 parameter. */
  public @Nullable TensorView weight() {
    return weight;
  }

  /** Returns the FP8 weight, or null. */
  public @Nullable Fp8Parameter fp8Weight() {
    return fp8Weight;
  }

  /** Returns the bias, or null. */
  public @Nullable TensorView bias() {
    return bias;
  }

  /** Returns the residual, or null. */
  public @Nullable TensorView residual() {
    return residual;
  }

  /** Returns the tensor for the rounded sum, or null. */
  public @Nullable TensorView residualOut() {
    return residualOut;
  }

  /** Returns the scale of an FP8 output, or null. */
  public @Nullable TensorView yScale() {
    return yScale;
  }

  /** Returns the tensor for an FP8 output's amax, or null. */
  public @Nullable TensorView yAmax() {
    return yAmax;
  }

  /** Returns the tensor for an FP8 output's inverse scales, or null. */
  public @Nullable TensorView yScaleInv() {
    return yScaleInv;
  }

  /** Returns the stream, or null for the device's default stream and on the CPU. */
  public @Nullable CudaStream stream() {
    return stream;
  }

  /** Lists the operands that are present. */
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
