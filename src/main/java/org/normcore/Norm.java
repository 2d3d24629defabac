package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;
import static com.google.common.base.Preconditions.checkState;

import com.google.common.math.LongMath;
import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CallContextPool;
import org.normcore.internal.Capi;
import org.normcore.internal.CudaCapi;
import org.normcore.internal.Memory;
import org.normcore.internal.NormPlan;
import org.normcore.internal.UseGuard;

/**
 * A normalisation, forward and backward: {@link RmsNorm} or {@link LayerNorm}.
 *
 * <p><b>Shapes.</b> A tensor of shape {@code [.., normalizedShape]} is a matrix of rows: the last
 * dimensions form a row of {@code N} elements, the leading dimensions are flattened into rows.
 * {@code x}, {@code y}, {@code dy}, {@code dx} and the residuals have the same number of rows.
 * Weight, bias and their gradients have shape {@code normalizedShape}. Statistics have one number
 * per row. With a one-dimensional {@code normalizedShape} any row stride of at least {@code N} is
 * allowed; with more dimensions tensors must be contiguous.
 *
 * <p><b>Dtypes.</b> Input, weight and output are chosen independently among float64, float32,
 * bfloat16 and float16; the output may also be FP8. {@code x}, {@code dx} and the residuals have
 * the input dtype; weight and bias the weight dtype; {@code y} and {@code dy} the output dtype. If
 * {@code y} is FP8, {@code dy} has {@link #gradientDType()}. Statistics have {@link
 * #statisticsDType()}.
 *
 * <p><b>FP8 outputs.</b> The norm quantises after the policy's roundings. Let {@code v} be the
 * value that the policy would round to the output dtype: the unrounded {@code xhat * g + b} under
 * {@link ScaleRounding#COMPUTE}, {@code rd_P(..)} otherwise. Then {@code y = rd(v * scale)}: the
 * product is formed in the compute type and rounded once to the FP8 format, to nearest even and
 * saturating. The scale is {@link Operands#yScale} for the whole tensor, or is computed from the
 * values of each row or block; its inverse then goes to {@link Operands#yScaleInv}. See {@link
 * Fp8Scaling}. The backward ignores the quantisation (straight-through gradient).
 *
 * <p><b>Results.</b> For given dtypes, policy and {@code N} the bits do not depend on the device,
 * the vector level, the number of threads, alignment or row stride, and are the same in every run.
 * A row's {@code y}, statistics and {@code dx} do not depend on other rows.
 *
 * <p><b>Memory and threads.</b> A norm is immutable and thread-safe. All tensors are on its {@link
 * #device()}. On the CPU a call runs in the calling thread and, if it is large enough, in tasks of
 * the executor; it returns when all work is complete. Calls do not allocate, except those that
 * return a new {@link Saved} and the first calls, which set up reusable objects. Each method states
 * which outputs may be in place, that is, in the memory of an input; other outputs must not overlap
 * any tensor.
 *
 * <p><b>CUDA devices.</b> A call queues its work in the stream of the operands or the gradients, by
 * default the device's default stream, and returns without waiting for the device. The statements
 * on allocation include device memory: calls that do not allocate can be captured into a CUDA
 * graph. All tensors must stay valid until the stream has completed the work, and the caller must
 * order calls that use them in other streams. {@link CudaBuffer#close()} and {@link Saved#close()}
 * are safe at any time, because they wait for the device. A captured graph uses the same memory at
 * every launch: until the last launch all of it, including the {@code Saved}, must stay open and
 * reachable.
 *
 * <p><b>Errors.</b> A call that throws {@link IllegalArgumentException}, {@link
 * IllegalStateException} or {@link UnsupportedOperationException} has written nothing. The message
 * names the argument, its value and what was expected. Two cases differ. An exception of the
 * executor, of any class, is rethrown after all tasks have stopped; by then part of the outputs may
 * have been written. A {@link CudaException}, from any call of a norm on a CUDA device, of a {@link
 * CudaStream} or of a {@link CudaBuffer}, may report a failure of earlier work.
 *
 * <pre>{@code
 * try (Norm norm =
 *         LayerNorm.builder(4)
 *             .input(DType.FLOAT32).policy(NormPolicy.PYTORCH).affine(Affine.NONE).build();
 *     NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 2, 4)) {
 *   TensorView x =
 *       memory.view(DType.FLOAT32, 2, 4).copyFrom(new float[] {1, 2, 3, 4, 0, 0, 0, 8});
 *   norm.infer(Operands.of(x, x));        // in place
 *   System.out.println(x.toFloats()[0]);  // -1.3416355
 *   System.out.println(x.toFloats()[7]);  // 1.7320501
 * }
 * }</pre>
 */
public abstract sealed class Norm implements AutoCloseable permits RmsNorm, LayerNorm {
  private final NormKind kind;
  private final String name;
  private final long[] normalizedShape;
  private final long hiddenSize;
  private final double epsilon;
  private final DType input;
  private final DType weight;
  private final DType output;
  private final DType gradient;
  private final @Nullable Fp8Scaling outputScaling;
  private final boolean powerOfTwoScales;
  private final DType statistics;
  private final Affine affine;
  private final NormPolicy policy;
  private final VectorLevel vectorLevel;
  private final Device device;
  private final @Nullable CudaStream defaultStream;
  private final Cleaner.Cleanable cleanable;
  private final NormForward forward = new NormForward(this);
  private final NormBackward backward = new NormBackward(this);

  final UseGuard guard;
  final long plan;
  final CallContextPool contexts;
  final NormChecks checks;

  Norm(NormKind kind, Builder<?> builder) {
    this.kind = kind;
    this.name = kind == NormKind.RMS_NORM ? "RmsNorm" : "LayerNorm";
    this.normalizedShape = builder.normalizedShape;
    this.hiddenSize = builder.hiddenSize;
    this.epsilon = builder.epsilon;
    this.input = Objects.requireNonNull(builder.input);
    this.affine = builder.affine;
    this.weight = builder.weight == null || affine == Affine.NONE ? input : builder.weight;
    this.policy = Objects.requireNonNull(builder.policy);
    DType usual = policy.outputDType(input, weight);
    this.output = builder.output == null ? usual : builder.output;
    this.outputScaling = builder.outputScaling;
    this.powerOfTwoScales = builder.powerOfTwoScales;
    this.gradient =
        outputScaling == null ? output : builder.gradient == null ? usual : builder.gradient;
    this.statistics = policy.compute().dtype();
    this.vectorLevel = builder.vectorLevel;
    this.device = builder.device;
    boolean onCpu = device.isCpu();
    if (!onCpu) {
      Cuda.requireDevice("device", device);
    }
    this.defaultStream = onCpu ? null : CudaStream.ofDefault(device);
    this.guard = new UseGuard(name);
    this.checks =
        new NormChecks(
            kind,
            device,
            normalizedShape,
            hiddenSize,
            input,
            weight,
            output,
            outputScaling,
            statistics,
            affine);
    this.contexts = new CallContextPool(onCpu ? builder.threads : 1, builder.executor);
    this.plan =
        new NormPlan(kind, affine, hiddenSize, epsilon)
            .dtypes(input, weight, output, gradient)
            .policy(policy)
            .scaling(outputScaling, powerOfTwoScales)
            .on(device, vectorLevel)
            .create();
    this.cleanable = Memory.CLEANER.register(this, new DestroyPlan(plan));
  }

  /** Returns which norm this is. */
  public final NormKind kind() {
    return kind;
  }

  /** Returns a copy of the sizes of the dimensions that form a row. */
  public final long[] normalizedShape() {
    return normalizedShape.clone();
  }

  /** Returns {@code N}, the number of elements of a row. */
  public final long hiddenSize() {
    return hiddenSize;
  }

  /** Returns the policy. */
  public final NormPolicy policy() {
    return policy;
  }

  /** Returns epsilon. */
  public final double epsilon() {
    return epsilon;
  }

  /** Returns the dtype of {@code x}, {@code dx} and the residuals. */
  public final DType inputDType() {
    return input;
  }

  /** Returns the dtype of weight and bias; the input dtype if the norm has neither. */
  public final DType weightDType() {
    return weight;
  }

  /** Returns the dtype of {@code y}. */
  public final DType outputDType() {
    return output;
  }

  /**
   * Returns the dtype of {@code dy}, which differs from that of {@code y} only if {@code y} is FP8.
   */
  public final DType gradientDType() {
    return gradient;
  }

  /** Returns how an FP8 {@code y} is scaled; null if {@code y} is not FP8. */
  public final @Nullable Fp8Scaling outputScaling() {
    return outputScaling;
  }

  /** Returns whether the row scales of an FP8 {@code y} are rounded down to powers of two. */
  public final boolean powerOfTwoScales() {
    return powerOfTwoScales;
  }

  /** Returns the dtype of mean and rstd: the policy's compute type. */
  public final DType statisticsDType() {
    return statistics;
  }

  /** Returns which of weight and bias the norm has. */
  public final Affine affine() {
    return affine;
  }

  /** Returns the device of the norm and its tensors. */
  public final Device device() {
    return device;
  }

  /** Returns the vector level; ignored on CUDA devices. */
  public final VectorLevel vectorLevel() {
    return vectorLevel;
  }

  /**
   * Returns which kernels the norm launches on its CUDA device: a line for each of forward and
   * backward, aligned and unaligned, with and without a residual, for calls of many rows. Empty on
   * the CPU.
   *
   * <p>A line with "left out" states what the device lacks for the fast kernel, such as support for
   * clusters of 16 thread blocks. A slower kernel with the same bits runs instead.
   *
   * @throws IllegalStateException if the norm is closed
   */
  public final List<String> kernels() {
    if (device.isCpu()) {
      return List.of();
    }
    guard.acquire();
    try {
      return CudaCapi.normKernels(plan);
    } finally {
      guard.release();
    }
  }

  /**
   * Returns an empty {@link Saved} of this norm for up to {@code rows} rows, for repeated use by
   * {@link #forward(Operands, Saved)}.
   *
   * @throws IllegalArgumentException if {@code rows} is negative or too large to allocate
   * @throws IllegalStateException if the norm is closed
   * @throws OutOfMemoryError if the norm's device runs out of memory
   */
  public final Saved newSaved(long rows) {
    checkArgument(
        rows >= 0 && rows <= Long.MAX_VALUE / 64,
        "rows: %s; expected 0 to %s",
        rows,
        Long.MAX_VALUE / 64);
    guard.acquire();
    try {
      return makeSaved(rows);
    } finally {
      guard.release();
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Normalises {@code x} into {@code y} and saves what the backward needs in a new {@link Saved},
   * which the caller must close. Otherwise as {@link #forward(Operands, Saved)}.
   */
  public final Saved forward(Operands operands) {
    return forward.save(operands);
  }

  /**
   * Normalises {@code x} into {@code y} and saves what the backward needs in {@code reuse}. Does
   * not allocate.
   *
   * <p>In place: {@code y} may be the residual, and {@code residualOut} may be {@code x} or the
   * residual, if address, row stride and element size are the same. {@code y} may be {@code x} only
   * in the residual-fused form, because the backward reads {@code x} otherwise.
   *
   * <p>If the call throws, {@code reuse} may be empty, because its previous contents may be partly
   * overwritten.
   *
   * @return {@code reuse}
   * @throws IllegalArgumentException if a tensor is null, closed, of a wrong dtype, shape or
   *     device, present although the norm has none, missing although it has one, or overlaps
   *     another tensor; if the stream is closed, of another device or not null on the CPU; or if
   *     {@code reuse} belongs to another norm or is too small
   * @throws IllegalStateException if the norm or {@code reuse} is closed, or {@code reuse} is in
   *     use
   */
  public final Saved forward(Operands operands, Saved reuse) {
    forward.save(operands, reuse);
    return reuse;
  }

  /**
   * Normalises {@code x} into {@code y} and writes the statistics to the caller's tensors, for
   * frameworks with their own tape. Does not allocate.
   *
   * <p>In place: {@code y} and {@code residualOut} may each be {@code x} or the residual, if
   * address, row stride and element size are the same.
   *
   * @param mean one number per row, of any shape, contiguous, in {@link #statisticsDType()}; null
   *     for RMSNorm
   * @param rstd {@code 1/sqrt(.. + epsilon)} of each row, likewise
   * @throws IllegalArgumentException as {@link #forward(Operands, Saved)}
   * @throws IllegalStateException if the norm is closed
   */
  public final void forward(Operands operands, @Nullable TensorView mean, TensorView rstd) {
    forward.write(operands, mean, rstd);
  }

  /**
   * Normalises {@code x} into {@code y} without saving anything. Does not allocate.
   *
   * <p>In place: {@code y} and {@code residualOut} may each be {@code x} or the residual, if
   * address, row stride and element size are the same.
   *
   * @throws IllegalArgumentException as {@link #forward(Operands, Saved)}
   * @throws IllegalStateException if the norm is closed
   */
  public final void infer(Operands operands) {
    forward.infer(operands);
  }

  /**
   * Computes gradients from a forward call's {@link Saved}. May be called several times for one
   * {@code Saved}, unless {@code dx} overwrites {@code x}. Does not allocate, except when the
   * workspace in {@code saved} grows.
   *
   * <p>In place: {@code dx} may be {@code dy}, the {@code x} of the forward call or the residual's
   * gradient, if address, row stride and element size are the same. As soon as a call begins to
   * overwrite {@code x} with {@code dx}, {@code saved} is empty, even if the call fails.
   *
   * @param dy the gradient of {@code y}, with its rows and shape, in {@link #gradientDType()}
   * @throws IllegalArgumentException if a tensor is null, closed, of a wrong dtype, shape or device
   *     or overlaps another one; if a gradient is requested that the norm does not have; if the
   *     stream is closed, of another device or not null on the CPU; if {@code saved} belongs to
   *     another norm
   * @throws IllegalStateException if the norm or {@code saved} is closed, or {@code saved} is in
   *     use or empty
   */
  public final void backward(Saved saved, TensorView dy, Gradients gradients) {
    backward.run(saved, dy, gradients);
  }

  /**
   * Computes gradients from the caller's tensors, for frameworks with their own tape. Does not
   * allocate.
   *
   * <p>In place: {@code dx} may be {@code dy}, {@code x} or the residual's gradient, if address,
   * row stride and element size are the same.
   *
   * @param x the normalised tensor: the forward call's {@code x}, in the residual-fused form its
   *     {@code residualOut}
   * @param weight the forward call's weight; null if the norm has none
   * @param mean the statistics of the forward call; null for RMSNorm
   * @param rstd the statistics of the forward call
   * @param dy the gradient of {@code y}, with its rows and shape, in {@link #gradientDType()}
   * @param workspace at least {@link #backwardWorkspaceBytes} bytes on the norm's device,
   *     uninitialised; null if neither the weight's nor the bias's gradient is requested
   * @throws IllegalArgumentException as {@link #backward(Saved, TensorView, Gradients)}, or if the
   *     workspace is closed, too small or on another device
   * @throws IllegalStateException if the norm is closed
   */
  public final void backward(
      TensorView x,
      @Nullable TensorView weight,
      @Nullable TensorView mean,
      TensorView rstd,
      TensorView dy,
      Gradients gradients,
      @Nullable OwnedMemory workspace) {
    try (NormCall call = NormCall.take(this)) {
      call.x = x;
      call.weight = weight;
      call.workspace = workspace;
      backward.run(call.statistics(mean, rstd), dy, gradients);
    }
  }

  /**
   * Returns the workspace size of a backward of {@code rows} rows; 0 if neither the weight's nor
   * the bias's gradient is requested.
   *
   * @throws IllegalArgumentException if {@code rows} is negative, or a gradient is requested that
   *     the norm does not have
   * @throws IllegalStateException if the norm is closed
   */
  public final long backwardWorkspaceBytes(long rows, Gradients gradients) {
    checkArgument(rows >= 0, "rows: %s; expected at least 0", rows);
    NormChecks.requireGradients(gradients);
    checks.requireWanted("dweight", gradients.dweight, affine.hasWeight());
    checks.requireWanted("dbias", gradients.dbias, affine.hasBias());
    guard.acquire();
    try {
      return Capi.backwardWorkspace(plan, rows, gradients.dweight != null, gradients.dbias != null);
    } finally {
      guard.release();
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Frees the native plan. A second call does nothing. All other calls then throw. {@link Saved}
   * objects of this norm stay readable; close them separately.
   *
   * @throws IllegalStateException if a call is in progress
   */
  @Override
  public final void close() {
    if (guard.close()) {
      cleanable.clean();
    }
  }

  /** Describes the configuration. */
  @Override
  public final String toString() {
    return name
        + "("
        + Arrays.toString(normalizedShape)
        + ", epsilon="
        + epsilon
        + ", input="
        + input
        + ", weight="
        + weight
        + ", output="
        + output
        + (outputScaling == null
            ? ""
            : ", outputScaling="
                + outputScaling
                + (powerOfTwoScales ? " in powers of two" : "")
                + ", gradient="
                + gradient)
        + ", affine="
        + affine
        + ", policy="
        + policy.name()
        + (device.isCpu() ? "" : ", device=" + device)
        + (guard.isOpen() ? ")" : ", closed)");
  }

  String name() {
    return name;
  }

  final Saved save(
      TensorView x, @Nullable TensorView weight, @Nullable TensorView bias, TensorView y) {
    return forward.save(x, weight, bias, y);
  }

  final void compute(
      TensorView x, @Nullable TensorView weight, @Nullable TensorView bias, TensorView y) {
    forward.infer(x, weight, bias, y);
  }

  /** Allocates memory of the norm's device. */
  final OwnedMemory allocate(long bytes) {
    return device.isCpu() ? NativeBuffer.allocate(bytes) : CudaBuffer.allocate(device, bytes);
  }

  /**
   * Creates a Saved; the caller must have acquired the norm. On a CUDA device this allocates its
   * workspace too, because a backward that allocates can't be captured into a CUDA graph.
   */
  final Saved makeSaved(long rows) {
    boolean hasWeight = affine.hasWeight();
    boolean hasBias = affine.hasBias();
    long workspace =
        device.isCpu() || !(hasWeight || hasBias)
            ? 0
            : Capi.backwardWorkspace(plan, rows, hasWeight, hasBias);
    return new Saved(this, rows, workspace);
  }

  final void requireOwn(@Nullable Saved saved, String argument) {
    if (saved == null) {
      throw new IllegalArgumentException(argument + ": null; expected a Saved of this " + name);
    }
    if (saved.norm() != this) {
      throw new IllegalArgumentException(
          argument + ": is of another norm, " + saved.norm() + "; expected one of " + this);
    }
  }

  static long addressOf(@Nullable TensorView view) {
    return view == null ? 0 : view.address();
  }

  /** The stream of a call: the given one, or the device's default stream; null on the CPU. */
  final @Nullable CudaStream streamOf(@Nullable CudaStream given) {
    return given == null ? defaultStream : given;
  }

  /** The row stride, in elements. */
  final long stride(@Nullable TensorView view) {
    return view != null && normalizedShape.length == 1 ? view.rowStride() : hiddenSize;
  }

  /** The bytes of one row in {@code inputs} tensors of the input dtype and one of another dtype. */
  final long rowBytes(int inputs, DType other) {
    return hiddenSize * (inputs * input.bytes() + other.bytes());
  }

  private record DestroyPlan(long plan) implements Runnable {
    @Override
    public void run() {
      NormPlan.destroy(plan);
    }
  }

  /**
   * Builds a norm. Not thread-safe.
   *
   * @param <B> the builder's own type
   */
  public abstract static sealed class Builder<B extends Builder<B>> extends OpBuilder<B>
      permits RmsNorm.Builder, LayerNorm.Builder {
    private final long[] normalizedShape;
    private final long hiddenSize;
    private double epsilon = 1e-5;
    private @Nullable DType input;
    private @Nullable DType weight;
    private @Nullable DType output;
    private @Nullable Fp8Scaling outputScaling;
    private boolean powerOfTwoScales;
    private @Nullable DType gradient;
    private Affine affine;
    private @Nullable NormPolicy policy;

    Builder(long[] normalizedShape, Affine affine) {
      this.normalizedShape =
          Objects.requireNonNull(
                  normalizedShape, "normalizedShape: null; expected the sizes of a row")
              .clone();
      this.affine = affine;
      long product = normalizedShape.length == 0 ? 0 : 1;
      for (long size : normalizedShape) {
        product = size < 1 ? 0 : LongMath.saturatedMultiply(product, size);
      }
      checkArgument(
          product >= 1 && product <= Capi.MAX_HIDDEN_SIZE,
          "normalizedShape: %s; expected sizes of at least 1 with a product of at most %s",
          Arrays.toString(normalizedShape),
          Capi.MAX_HIDDEN_SIZE);
      this.hiddenSize = product;
    }

    /**
     * Sets epsilon, which is added to the mean square or the variance. 1e-5 if not set.
     *
     * @throws IllegalArgumentException if it is negative, infinite or NaN
     */
    public B epsilon(double epsilon) {
      checkArgument(
          epsilon >= 0 && epsilon < Double.POSITIVE_INFINITY,
          "epsilon: %s; expected a finite number of at least 0",
          epsilon);
      this.epsilon = epsilon;
      return self();
    }

    /**
     * Sets the dtype of {@code x}, {@code dx} and the residuals. Must be set.
     *
     * @throws IllegalArgumentException if it is an FP8 format
     */
    public B input(DType dtype) {
      this.input = normType("input", dtype);
      return self();
    }

    /**
     * Sets the dtype of weight and bias. The input dtype if not set. Ignored with {@link
     * Affine#NONE}, also for the output dtype.
     *
     * @throws IllegalArgumentException if it is an FP8 format
     */
    public B weight(DType dtype) {
      this.weight = normType("weight", dtype);
      return self();
    }

    /**
     * Sets the dtype of {@code y}. An FP8 output also needs {@link #outputScaling}. {@link
     * NormPolicy#outputDType} if not set.
     *
     * @throws IllegalArgumentException if it is {@link DType#FLOAT8_E8M0}
     */
    public B output(DType dtype) {
      Objects.requireNonNull(dtype, "output: null; expected a DType");
      checkArgument(
          dtype.isNormType() || dtype.isFp8(),
          "output: %s; expected FLOAT64, FLOAT32, BFLOAT16, FLOAT16, FLOAT8_E4M3 or FLOAT8_E5M2",
          dtype);
      this.output = dtype;
      return self();
    }

    /** Sets how an FP8 {@code y} is scaled. Required for FP8 outputs, not allowed for others. */
    public B outputScaling(Fp8Scaling scaling) {
      this.outputScaling =
          Objects.requireNonNull(scaling, "outputScaling: null; expected an Fp8Scaling");
      return self();
    }

    /**
     * Sets whether the row scales of an FP8 {@code y} are rounded down to powers of two. Only for
     * {@link Fp8Scaling#ROW}: block scales are always powers of two, the caller gives a tensor
     * scale. False if not set.
     */
    public B powerOfTwoScales(boolean powerOfTwo) {
      this.powerOfTwoScales = powerOfTwo;
      return self();
    }

    /**
     * Sets the dtype of {@code dy} if {@code y} is FP8. {@link NormPolicy#outputDType} if not set,
     * the dtype of an unquantised {@code y}. In other norms {@code dy} has the dtype of {@code y}.
     *
     * @throws IllegalArgumentException if it is an FP8 format
     */
    public B gradient(DType dtype) {
      this.gradient = normType("gradient", dtype);
      return self();
    }

    /**
     * Sets which of weight and bias the norm has. A weight for RMSNorm, both for LayerNorm if not
     * set.
     */
    public B affine(Affine affine) {
      this.affine = Objects.requireNonNull(affine, "affine: null; expected an Affine");
      return self();
    }

    /** Sets the rounding policy. Must be set. */
    public B policy(NormPolicy policy) {
      this.policy = Objects.requireNonNull(policy, "policy: null; expected a NormPolicy");
      return self();
    }

    /**
     * Returns the norm.
     *
     * @throws IllegalArgumentException if the CUDA device does not exist
     * @throws IllegalStateException if input dtype or policy is not set, or output, its scaling and
     *     gradient are inconsistent
     * @throws UnsupportedOperationException if this machine lacks the vector level or CUDA; the
     *     message gives the reason
     * @throws CudaException if CUDA reports an error, from this call or from earlier work
     * @throws UnsatisfiedLinkError if the native library can't be loaded; the message says what to
     *     do
     */
    public abstract Norm build();

    final void check() {
      checkState(input != null, "input: not set; expected the dtype of x, by input(DType)");
      checkState(policy != null, "policy: not set; expected where to round, by policy(NormPolicy)");
      if (output != null && output.isFp8()) {
        checkState(
            outputScaling != null,
            "outputScaling: not set; expected how to scale an output in %s, by"
                + " outputScaling(Fp8Scaling)",
            output);
      } else {
        String given = output == null ? "the policy's own" : output.toString();
        checkState(
            outputScaling == null,
            "outputScaling: %s; expected none, because the output's dtype is %s, not FP8",
            outputScaling,
            given);
        checkState(
            gradient == null || gradient == output,
            "gradient: %s; expected none, because the output's dtype, which is that of dy too, is"
                + " %s, not FP8",
            gradient,
            given);
      }
      checkState(
          !powerOfTwoScales || outputScaling == Fp8Scaling.ROW,
          "powerOfTwoScales: true; expected it with outputScaling ROW only, which is %s",
          outputScaling == null ? "not set" : outputScaling);
    }

    private static DType normType(String name, DType dtype) {
      Objects.requireNonNull(dtype, () -> name + ": null; expected a DType");
      checkArgument(
          dtype.isNormType(),
          "%s: %s; expected FLOAT64, FLOAT32, BFLOAT16 or FLOAT16",
          name,
          dtype);
      return dtype;
    }
  }
}
