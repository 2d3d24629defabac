package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;
import static com.google.common.base.Preconditions.checkState;

import com.google.common.math.LongMath;
import java.lang.ref.Cleaner;
import java.util.Arrays;
import java.util.Objects;
import java.util.concurrent.Executor;
import java.util.concurrent.ForkJoinPool;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.Capi;
import org.normcore.internal.FramePool;
import org.normcore.internal.Memory;
import org.normcore.internal.UseGuard;

/**
 * A normalisation, forward and backward: {@link RmsNorm} or {@link LayerNorm}.
 *
 * <p><b>Shapes.</b> A tensor of shape {@code [.., normalizedShape]} is a matrix of rows: the last
 * dimensions make up a row of {@code N} elements, the leading ones are flattened into rows. {@code
 * x}, {@code y}, {@code dy}, {@code dx}, the residuals: as many rows each. Weight, bias and their
 * gradients: {@code normalizedShape}. Statistics: one number per row. With a one-dimensional {@code
 * normalizedShape} the row stride is free; with more dimensions tensors are contiguous.
 *
 * <p><b>Dtypes.</b> Input, weight and output are chosen independently among float64, float32,
 * bfloat16 and float16. {@code x}, {@code dx} and the residuals have the input's; weight and bias
 * the weight's; {@code y} and {@code dy} the output's; statistics {@link #statisticsDType()}.
 *
 * <p><b>Results.</b> For given dtypes, policy and {@code N} the bits do not depend on the vector
 * level, the number of threads, alignment, row stride or run; and a row's {@code y}, statistics and
 * {@code dx} do not depend on the other rows.
 *
 * <p><b>Memory and threads.</b> A norm is immutable and may be used by any number of threads at
 * once. A call runs in the calling thread and, if it is large enough, in tasks given to the
 * executor; it returns when all of it is done. Apart from {@link #newSaved}, {@link
 * #forward(Operands)} and its kin, and the first calls, which set up what is then reused, nothing
 * is allocated. Tensors may be in place of each other where the methods say so; otherwise an output
 * must not overlap anything.
 *
 * <p><b>Errors.</b> A call that throws {@link IllegalArgumentException}, {@link
 * IllegalStateException} or {@link UnsupportedOperationException} has written nothing. The message
 * names the argument, its value and what was expected.
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
  private final DType statistics;
  private final Affine affine;
  private final NormPolicy policy;
  private final VectorLevel vectorLevel;

  private final UseGuard guard;
  private final long plan;
  private final Cleaner.Cleanable cleanable;
  private final FramePool frames;

  Norm(NormKind kind, Builder<?> builder) {
    this.kind = kind;
    this.name = kind == NormKind.RMS_NORM ? "RmsNorm" : "LayerNorm";
    this.normalizedShape = builder.normalizedShape;
    this.hiddenSize = builder.hiddenSize;
    this.epsilon = builder.epsilon;
    this.input = Objects.requireNonNull(builder.input);
    this.weight = builder.weight == null ? input : builder.weight;
    this.policy = Objects.requireNonNull(builder.policy);
    this.output = builder.output == null ? policy.outputDType(input, weight) : builder.output;
    this.statistics = policy.compute().dtype();
    this.affine = builder.affine;
    this.vectorLevel = builder.vectorLevel;
    this.guard = new UseGuard(name);
    this.frames = new FramePool(builder.threads, builder.executor);
    VarianceAlgorithm variance =
        kind == NormKind.LAYER_NORM ? policy.variance() : VarianceAlgorithm.TWO_PASS;
    this.plan =
        Capi.createPlan(
            kind.ordinal(),
            input.code(),
            weight.code(),
            output.code(),
            affine.ordinal(),
            policy.scaleRounding().ordinal(),
            policy.gammaOffset().ordinal(),
            variance.ordinal(),
            policy.compute().ordinal(),
            policy.residualRounding().ordinal(),
            vectorLevel.ordinal(),
            hiddenSize,
            epsilon);
    this.cleanable = Memory.CLEANER.register(this, new DestroyPlan(plan));
  }

  /** Returns which norm this is. */
  public NormKind kind() {
    return kind;
  }

  /** Returns a copy of the sizes of the last dimensions, those that are normalised together. */
  public long[] normalizedShape() {
    return normalizedShape.clone();
  }

  /** Returns {@code N}, the number of elements that are normalised together. */
  public long hiddenSize() {
    return hiddenSize;
  }

  /** Returns the policy. */
  public NormPolicy policy() {
    return policy;
  }

  /** Returns epsilon. */
  public double epsilon() {
    return epsilon;
  }

  /** Returns the dtype of {@code x}, {@code dx} and the residuals. */
  public DType inputDType() {
    return input;
  }

  /** Returns the dtype of weight and bias. */
  public DType weightDType() {
    return weight;
  }

  /** Returns the dtype of {@code y} and {@code dy}. */
  public DType outputDType() {
    return output;
  }

  /** Returns the dtype of mean and rstd: the policy's compute type. */
  public DType statisticsDType() {
    return statistics;
  }

  /** Returns which of weight and bias the norm has. */
  public Affine affine() {
    return affine;
  }

  /** Returns the vector level it was built with. */
  public VectorLevel vectorLevel() {
    return vectorLevel;
  }

  /**
   * Returns an empty {@link Saved} of this norm for up to as many rows, to be filled again and
   * again by {@link #forward(Operands, Saved)}.
   *
   * @throws IllegalArgumentException if {@code rows} is negative or too large to be allocated
   * @throws IllegalStateException if the norm is closed
   */
  public Saved newSaved(long rows) {
    throw new UnsupportedOperationException();
  }

  /**
   * Normalises {@code x} into {@code y} and saves what the backward needs in a new {@link Saved},
   * to be closed by the caller. Otherwise as {@link #forward(Operands, Saved)}.
   */
  public Saved forward(Operands operands) {
    throw new UnsupportedOperationException();
  }

  /**
   * Normalises {@code x} into {@code y} and saves what the backward needs in {@code reuse}.
   * Allocates nothing.
   *
   * <p>In place: {@code y} may be the residual, and {@code residualOut} may be {@code x} or the
   * residual, if address, row stride and element size are the same. {@code y} may be {@code x} only
   * in the residual-fused form, because the backward reads {@code x} otherwise.
   *
   * @return {@code reuse}
   * @throws IllegalArgumentException if a tensor is null, closed, of a wrong dtype, shape or
   *     device, given where the norm has none, missing where it has one, or overlaps another one;
   *     or if {@code reuse} belongs to another norm or is too small
   * @throws IllegalStateException if the norm or {@code reuse} is closed, or {@code reuse} is in
   *     use
   * @throws UnsupportedOperationException if a tensor is not in host memory
   */
  public Saved forward(Operands operands, Saved reuse) {
    throw new UnsupportedOperationException();
  }

  /**
   * Normalises {@code x} into {@code y} and writes the statistics to ordinary buffers, for
   * frameworks that keep them themselves. Allocates nothing.
   *
   * <p>In place: {@code y} and {@code residualOut} may each be {@code x} or the residual, if
   * address, row stride and element size are the same.
   *
   * @param mean one number per row, of any shape, contiguous, in {@link #statisticsDType()}; null
   *     for RMSNorm
   * @param rstd the same for {@code 1/sqrt(.. + epsilon)}
   * @throws IllegalArgumentException as {@link #forward(Operands, Saved)}
   * @throws IllegalStateException if the norm is closed
   * @throws UnsupportedOperationException if a tensor is not in host memory
   */
  public void forward(Operands operands, @Nullable TensorView mean, TensorView rstd) {
    throw new UnsupportedOperationException();
  }

  /**
   * Normalises {@code x} into {@code y} and saves nothing. Allocates nothing.
   *
   * <p>In place: {@code y} and {@code residualOut} may each be {@code x} or the residual, if
   * address, row stride and element size are the same.
   *
   * @throws IllegalArgumentException as {@link #forward(Operands, Saved)}
   * @throws IllegalStateException if the norm is closed
   * @throws UnsupportedOperationException if a tensor is not in host memory
   */
  public void infer(Operands operands) {
    throw new UnsupportedOperationException();
  }

  /**
   * Computes gradients from what a forward call saved. May be called several times for one {@link
   * Saved}. Allocates nothing, but for the workspace within {@code saved} when it grows.
   *
   * <p>In place: {@code dx} may be {@code dy}, the {@code x} of the forward call or the residual's
   * gradient, if address, row stride and element size are the same.
   *
   * @param dy the gradient of {@code y}, with its rows, shape and dtype
   * @throws IllegalArgumentException if a tensor is null, closed, of a wrong dtype, shape or device
   *     or overlaps another one; if a gradient is asked for that the norm does not have; if {@code
   *     saved} belongs to another norm
   * @throws IllegalStateException if the norm or {@code saved} is closed, or {@code saved} is in
   *     use or was never filled
   * @throws UnsupportedOperationException if a tensor is not in host memory
   */
  public void backward(Saved saved, TensorView dy, Gradients gradients) {
    throw new UnsupportedOperationException();
  }

  /**
   * Computes gradients from ordinary buffers, for frameworks that keep the statistics themselves.
   * Allocates nothing.
   *
   * <p>In place: {@code dx} may be {@code dy}, {@code x} or the residual's gradient, if address,
   * row stride and element size are the same.
   *
   * @param x what was normalised: the forward call's {@code x}, in the residual-fused form its
   *     {@code residualOut}
   * @param weight the forward call's weight; null if the norm has none
   * @param mean the statistics of the forward call; null for RMSNorm
   * @param rstd the statistics of the forward call
   * @param dy the gradient of {@code y}, with its rows, shape and dtype
   * @param workspace at least {@link #backwardWorkspaceBytes} bytes, contents irrelevant; null if
   *     neither the weight's nor the bias's gradient is wanted
   * @throws IllegalArgumentException as {@link #backward(Saved, TensorView, Gradients)}, or if the
   *     workspace is too small
   * @throws IllegalStateException if the norm is closed
   * @throws UnsupportedOperationException if a tensor is not in host memory
   */
  public void backward(
      TensorView x,
      @Nullable TensorView weight,
      @Nullable TensorView mean,
      TensorView rstd,
      TensorView dy,
      Gradients gradients,
      @Nullable NativeBuffer workspace) {
    throw new UnsupportedOperationException();
  }

  /**
   * Returns the size of the workspace for a backward of as many rows: 0 if neither the weight's nor
   * the bias's gradient is wanted.
   *
   * @throws IllegalArgumentException if {@code rows} is negative
   * @throws IllegalStateException if the norm is closed
   */
  public long backwardWorkspaceBytes(long rows, Gradients gradients) {
    throw new UnsupportedOperationException();
  }

  /**
   * Frees the native plan. Does nothing if that has been done. Every further call is refused;
   * {@link Saved} objects of this norm stay readable and are to be closed on their own.
   *
   * @throws IllegalStateException if a call is in progress
   */
  @Override
  public void close() {
    if (guard.close()) {
      cleanable.clean();
    }
  }

  /** Returns what it was built with. */
  @Override
  public String toString() {
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
        + ", affine="
        + affine
        + ", policy="
        + policy.name()
        + (guard.isOpen() ? ")" : ", closed)");
  }

  String name() {
    return name;
  }

  final Saved forwardNew(
      TensorView x,
      @Nullable TensorView weight,
      @Nullable TensorView bias,
      TensorView y,
      @Nullable TensorView residual,
      @Nullable TensorView residualOut) {
    throw new UnsupportedOperationException();
  }

  final void inferRows(
      TensorView x,
      @Nullable TensorView weight,
      @Nullable TensorView bias,
      TensorView y,
      @Nullable TensorView residual,
      @Nullable TensorView residualOut) {
    throw new UnsupportedOperationException();
  }

  private record DestroyPlan(long plan) implements Runnable {
    @Override
    public void run() {
      Capi.destroyPlan(plan);
    }
  }

  /**
   * Builds a norm. Not for use by several threads at once.
   *
   * @param <B> the builder's own type
   */
  public abstract static sealed class Builder<B extends Builder<B>>
      permits RmsNorm.Builder, LayerNorm.Builder {
    private final long[] normalizedShape;
    private final long hiddenSize;
    private double epsilon = 1e-5;
    private @Nullable DType input;
    private @Nullable DType weight;
    private @Nullable DType output;
    private Affine affine;
    private @Nullable NormPolicy policy;
    private VectorLevel vectorLevel = VectorLevel.BEST;
    private int threads = ForkJoinPool.getCommonPoolParallelism() + 1;
    private Executor executor = ForkJoinPool.commonPool();

    Builder(long[] normalizedShape, Affine affine) {
      this.normalizedShape = normalizedShape.clone();
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

    abstract B self();

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
     * Sets the dtype of weight and bias. That of the input if not set.
     *
     * @throws IllegalArgumentException if it is an FP8 format
     */
    public B weight(DType dtype) {
      this.weight = normType("weight", dtype);
      return self();
    }

    /**
     * Sets the dtype of {@code y} and {@code dy}. {@link NormPolicy#outputDType} if not set.
     *
     * @throws IllegalArgumentException if it is an FP8 format
     */
    public B output(DType dtype) {
      this.output = normType("output", dtype);
      return self();
    }

    /**
     * Sets which of weight and bias the norm has. A weight for RMSNorm, both for LayerNorm if not
     * set.
     */
    public B affine(Affine affine) {
      this.affine = Objects.requireNonNull(affine, "affine");
      return self();
    }

    /** Sets where it rounds. Must be set. */
    public B policy(NormPolicy policy) {
      this.policy = Objects.requireNonNull(policy, "policy");
      return self();
    }

    /**
     * Sets how many threads at most work on one call, the calling thread among them. That of the
     * common pool and one more if not set. 1: everything runs in the calling thread. The number
     * never changes a bit of the results.
     *
     * @throws IllegalArgumentException if it is less than 1
     */
    public B threads(int threads) {
      checkArgument(threads >= 1, "threads: %s; expected at least 1", threads);
      this.threads = threads;
      return self();
    }

    /**
     * Sets who runs the tasks of calls that are large enough to be split. The common pool if not
     * set. The calling thread always works too, so a call makes progress even if the executor is
     * busy, shut down or runs nothing. On a {@link ForkJoinPool} nothing is allocated; other
     * executors may allocate when given a task.
     */
    public B executor(Executor executor) {
      this.executor = Objects.requireNonNull(executor, "executor");
      return self();
    }

    /**
     * Sets the vector level of the kernels. {@link VectorLevel#BEST} if not set. All levels give
     * the same bits.
     */
    public B vectorLevel(VectorLevel vectorLevel) {
      this.vectorLevel = Objects.requireNonNull(vectorLevel, "vectorLevel");
      return self();
    }

    /**
     * Returns the norm.
     *
     * @throws IllegalStateException if input dtype or policy is not set
     * @throws UnsupportedOperationException if this machine does not have the vector level
     * @throws UnsatisfiedLinkError if the native library can't be loaded; the message says what to
     *     do
     */
    public abstract Norm build();

    final void check() {
      checkState(input != null, "input: not set; expected the dtype of x, by input(DType)");
      checkState(policy != null, "policy: not set; expected where to round, by policy(NormPolicy)");
    }

    private static DType normType(String name, DType dtype) {
      Objects.requireNonNull(dtype, name);
      checkArgument(
          dtype.isNormType(),
          "%s: %s; expected FLOAT64, FLOAT32, BFLOAT16 or FLOAT16",
          name,
          dtype);
      return dtype;
    }
  }
}
