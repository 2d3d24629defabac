package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;
import static com.google.common.base.Preconditions.checkState;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CallContext;
import org.normcore.internal.CallContextPool;
import org.normcore.internal.Fields;
import org.normcore.internal.Memory;
import org.normcore.internal.RotaryPlan;
import org.normcore.internal.UseGuard;

/**
 * Rotary position embedding, forward and backward: rotates queries and keys by the angles of a
 * {@link RotaryTable}.
 *
 * <p>Per head and pair {@code (x1, x2)}, with the cosine and sine of the token's position: {@code
 * y1 = x1*cos - x2*sin}, {@code y2 = x2*cos + x1*sin}, rounded as {@link RotaryRounding} defines.
 * {@link RotaryLayout} defines the pairs. Elements of the head beyond {@code rotaryDim} are copied.
 * Backward is the transpose, a rotation by the negative angle with the same roundings: {@code dx1 =
 * dy1*cos + dy2*sin}, {@code dx2 = dy2*cos - dy1*sin}.
 *
 * <pre>{@code
 * Rotary rotary = Rotary.builder(spec).dtype(BFLOAT16).tableDType(BFLOAT16)
 *     .layout(RotaryLayout.HALF_SPLIT).rounding(RotaryRounding.INPUT).build();
 * rotary.forward(table, q, qOut, k, kOut);
 * rotary.backward(table, dqOut, dq, dkOut, dk);
 * }</pre>
 *
 * <p><b>Shapes and dtypes.</b> Heads are {@link HeadsView}s of {@code [batch, seq, heads, headDim]}
 * with any strides; input and output have the same shape. Queries and keys may differ only in their
 * number of heads. All heads have one dtype, FLOAT32, BFLOAT16 or FLOAT16; the table may have
 * another one of these. The table has {@code seq} positions, or {@code [batch, seq]}.
 *
 * <p><b>Results.</b> The bits do not depend on the device, the vector level, the number of threads,
 * strides or alignment, and are the same in every run.
 *
 * <p><b>Memory and threads.</b> Immutable and thread-safe. On the CPU a call runs in the calling
 * thread and, if it is large enough, in tasks of the executor; it returns when all work is
 * complete. Only the first calls allocate. An output may be its input, in place. Otherwise an
 * output must not share an element with any other tensor of the call; interleaved memory, such as
 * parts of one tensor, is allowed.
 *
 * <p><b>CUDA devices.</b> A call queues its work in the given stream, by default the device's
 * default stream, and returns; it can be captured into a CUDA graph. Heads and table must stay
 * valid until the stream has completed the work. Otherwise as for {@link Norm}.
 *
 * <p><b>Errors.</b> A call that rejects its arguments has written nothing; the message names the
 * argument, its value and what was expected. An exception of the executor is rethrown after all
 * tasks have stopped; by then part of the outputs may have been written.
 *
 * <p>Sources: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021),
 * for the formula; {@code apply_rotary_pos_emb} of Hugging Face transformers for {@link
 * RotaryRounding#INPUT}.
 */
public final class Rotary implements AutoCloseable {
  private final int headDim;
  private final int rotaryDim;
  private final DType dtype;
  private final DType tableDType;
  private final RotaryLayout layout;
  private final RotaryRounding rounding;
  private final VectorLevel vectorLevel;
  private final Device device;
  private final @Nullable CudaStream defaultStream;

  private final UseGuard guard = new UseGuard("Rotary");
  private final long plan;
  private final Cleaner.Cleanable cleanable;
  private final CallContextPool contexts;

  private Rotary(Builder builder) {
    this.headDim = builder.headDim;
    this.rotaryDim = builder.rotaryDim;
    this.dtype = Objects.requireNonNull(builder.dtype);
    this.tableDType = Objects.requireNonNull(builder.tableDType);
    this.layout = Objects.requireNonNull(builder.layout);
    this.rounding = Objects.requireNonNull(builder.rounding);
    this.vectorLevel = builder.vectorLevel;
    this.device = builder.device;
    boolean onCpu = device.isCpu();
    if (!onCpu) {
      Cuda.requireDevice("device", device);
    }
    this.defaultStream = onCpu ? null : CudaStream.ofDefault(device);
    this.contexts = new CallContextPool(onCpu ? builder.threads : 1, builder.executor);
    this.plan =
        new RotaryPlan(headDim, rotaryDim)
            .dtypes(dtype, tableDType)
            .pairs(layout, rounding)
            .on(device, vectorLevel)
            .create();
    this.cleanable = Memory.CLEANER.register(this, new DestroyPlan(plan));
  }

  /**
   * Returns a builder for heads of the given size, all of whose elements rotate. Dtypes, layout and
   * rounding must be set before {@code build()}.
   *
   * @throws IllegalArgumentException if the size is not within 2 to {@link RotarySpec#MAX_HEAD_DIM}
   */
  public static Builder builder(int headDim) {
    return new Builder(headDim, headDim);
  }

  /** Returns a builder with the head size and rotary dimension of a spec. */
  public static Builder builder(RotarySpec spec) {
    return new Builder(spec.headDim(), spec.rotaryDim());
  }

  /** Returns the number of elements of a head. */
  public int headDim() {
    return headDim;
  }

  /** Returns the number of elements, from the start of a head, that rotate. */
  public int rotaryDim() {
    return rotaryDim;
  }

  /** Returns the dtype of heads. */
  public DType dtype() {
    return dtype;
  }

  /** Returns the dtype of tables. */
  public DType tableDType() {
    return tableDType;
  }

  /** Returns the layout of pairs. */
  public RotaryLayout layout() {
    return layout;
  }

  /** Returns the rounding. */
  public RotaryRounding rounding() {
    return rounding;
  }

  /** Returns the vector level; ignored on CUDA devices. */
  public VectorLevel vectorLevel() {
    return vectorLevel;
  }

  /** Returns the device of the op, its heads and its tables. */
  public Device device() {
    return device;
  }

  /**
   * Rotates {@code x} into {@code y}. Does not allocate.
   *
   * @param y the output; may be {@code x} itself
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, shape or
   *     device, or {@code y} overlaps itself, or overlaps {@code x} without being in place
   * @throws IllegalStateException if the op is closed
   */
  public void forward(RotaryTable table, HeadsView x, HeadsView y) {
    rotate(false, table, "x", x, "y", y, "", null, "", null, null);
  }

  /**
   * Rotates {@code x} into {@code y}, in a stream.
   *
   * @param stream a stream of the op's device; null for its default stream and on the CPU
   * @throws IllegalArgumentException as {@link #forward(RotaryTable, HeadsView, HeadsView)}, or if
   *     the stream is closed, of another device or not null on the CPU
   * @throws IllegalStateException if the op is closed
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void forward(RotaryTable table, HeadsView x, HeadsView y, @Nullable CudaStream stream) {
    rotate(false, table, "x", x, "y", y, "", null, "", null, stream);
  }

  /**
   * Rotates queries and keys. Does not allocate. Checks all arguments before it writes.
   *
   * @param qOut may be {@code q} itself
   * @param kOut may be {@code k} itself
   * @throws IllegalArgumentException as {@link #forward(RotaryTable, HeadsView, HeadsView)}
   * @throws IllegalStateException if the op is closed
   */
  public void forward(RotaryTable table, HeadsView q, HeadsView qOut, HeadsView k, HeadsView kOut) {
    forward(table, q, qOut, k, kOut, null);
  }

  /**
   * Rotates queries and keys, in a stream.
   *
   * @param stream a stream of the op's device; null for its default stream and on the CPU
   * @throws IllegalArgumentException as {@link #forward(RotaryTable, HeadsView, HeadsView,
   *     CudaStream)}
   * @throws IllegalStateException if the op is closed
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void forward(
      RotaryTable table,
      HeadsView q,
      HeadsView qOut,
      HeadsView k,
      HeadsView kOut,
      @Nullable CudaStream stream) {
    HeadsView key = required("k", k);
    HeadsView keyOut = required("kOut", kOut);
    rotate(false, table, "q", q, "qOut", qOut, "k", key, "kOut", keyOut, stream);
  }

  /**
   * Computes the gradient of the input from that of the output. Does not allocate.
   *
   * @param dy the gradient of {@code y}
   * @param dx the gradient of {@code x}; may be {@code dy} itself
   * @throws IllegalArgumentException as {@link #forward(RotaryTable, HeadsView, HeadsView)}
   * @throws IllegalStateException if the op is closed
   */
  public void backward(RotaryTable table, HeadsView dy, HeadsView dx) {
    rotate(true, table, "dy", dy, "dx", dx, "", null, "", null, null);
  }

  /**
   * Computes the gradient of the input from that of the output, in a stream.
   *
   * @param stream a stream of the op's device; null for its default stream and on the CPU
   * @throws IllegalArgumentException as {@link #forward(RotaryTable, HeadsView, HeadsView,
   *     CudaStream)}
   * @throws IllegalStateException if the op is closed
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void backward(RotaryTable table, HeadsView dy, HeadsView dx, @Nullable CudaStream stream) {
    rotate(true, table, "dy", dy, "dx", dx, "", null, "", null, stream);
  }

  /**
   * Computes the gradients of queries and keys from those of the rotated queries and keys. Does not
   * allocate. Checks all arguments before it writes.
   *
   * @param dq may be {@code dqOut} itself
   * @param dk may be {@code dkOut} itself
   * @throws IllegalArgumentException as {@link #forward(RotaryTable, HeadsView, HeadsView)}
   * @throws IllegalStateException if the op is closed
   */
  public void backward(
      RotaryTable table, HeadsView dqOut, HeadsView dq, HeadsView dkOut, HeadsView dk) {
    backward(table, dqOut, dq, dkOut, dk, null);
  }

  /**
   * Computes the gradients of queries and keys from those of the rotated ones, in a stream.
   *
   * @param stream a stream of the op's device; null for its default stream and on the CPU
   * @throws IllegalArgumentException as {@link #forward(RotaryTable, HeadsView, HeadsView,
   *     CudaStream)}
   * @throws IllegalStateException if the op is closed
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void backward(
      RotaryTable table,
      HeadsView dqOut,
      HeadsView dq,
      HeadsView dkOut,
      HeadsView dk,
      @Nullable CudaStream stream) {
    HeadsView keyOut = required("dkOut", dkOut);
    HeadsView key = required("dk", dk);
    rotate(true, table, "dqOut", dqOut, "dq", dq, "dkOut", keyOut, "dk", key, stream);
  }

  /**
   * Frees the native plan. A second call does nothing. All other calls then throw.
   *
   * @throws IllegalStateException if a call is in progress
   */
  @Override
  public void close() {
    if (guard.close()) {
      cleanable.clean();
    }
  }

  /** Describes the configuration. */
  @Override
  public String toString() {
    return "Rotary(headDim="
        + headDim
        + ", rotaryDim="
        + rotaryDim
        + ", dtype="
        + dtype
        + ", tableDType="
        + tableDType
        + ", layout="
        + layout
        + ", rounding="
        + rounding
        + (device.isCpu() ? "" : ", device=" + device)
        + (guard.isOpen() ? ")" : ", closed)");
  }

  /** Rotates one tensor, or two if the second is present. */
  private void rotate(
      boolean backward,
      RotaryTable table,
      String xName,
      HeadsView x,
      String yName,
      HeadsView y,
      String kName,
      @Nullable HeadsView k,
      String kOutName,
      @Nullable HeadsView kOut,
      @Nullable CudaStream given) {
    guard.acquire();
    try {
      requireHeads(xName, x, yName, y);
      requireTable(table, xName, x);
      if (k != null && kOut != null) {
        requireHeads(kName, k, kOutName, kOut);
        if (k.batch() != x.batch() || k.seq() != x.seq()) {
          throw new IllegalArgumentException(
              kName
                  + ": "
                  + k
                  + "; expected batch "
                  + x.batch()
                  + " and seq "
                  + x.seq()
                  + ", as "
                  + xName
                  + " has");
        }
        requireNoOverlap(yName, y, kName, k);
        requireNoOverlap(yName, y, kOutName, kOut);
        requireNoOverlap(kOutName, kOut, xName, x);
      }
      requireStream(given);
      CudaStream stream = given == null ? defaultStream : given;
      TensorView cos = table.cosUnchecked();
      TensorView sin = table.sinUnchecked();
      CallContext context = contexts.take();
      Leases leases = context.state(Leases::new);
      try {
        leases.read("table", cos);
        leases.read(xName, x);
        leases.write(yName, y);
        leases.read(kName, k);
        leases.write(kOutName, kOut);
        leases.use(stream);
        requireApartFromTable(table, cos, sin, yName, y);
        if (kOut != null) {
          requireApartFromTable(table, cos, sin, kOutName, kOut);
        }
        apply(context, backward, table, x, y, stream);
        if (k != null && kOut != null) {
          apply(context, backward, table, k, kOut, stream);
        }
      } finally {
        leases.release();
        context.release();
        Reference.reachabilityFence(table);
        Reference.reachabilityFence(x);
        Reference.reachabilityFence(y);
        Reference.reachabilityFence(k);
        Reference.reachabilityFence(kOut);
        Reference.reachabilityFence(stream);
      }
    } finally {
      guard.release();
      Reference.reachabilityFence(this);
    }
  }

  private void apply(
      CallContext context,
      boolean backward,
      RotaryTable table,
      HeadsView x,
      HeadsView y,
      @Nullable CudaStream stream) {
    if (x.isEmpty()) {
      return;
    }
    context
        .call
        .rotary(plan)
        .setInt(Fields.Rotary.BACKWARD, backward ? 1 : 0)
        .set(Fields.Rotary.BATCH, x.batch())
        .set(Fields.Rotary.SEQ, x.seq())
        .set(Fields.Rotary.HEADS, x.heads())
        .setHeads(Fields.Rotary.X, x.address(), x.batchStride(), x.seqStride(), x.headStride())
        .set(Fields.Rotary.COS, table.cosUnchecked().address())
        .set(Fields.Rotary.SIN, table.sinUnchecked().address())
        .set(Fields.Rotary.TABLE_BATCH_ROWS, table.batchRows())
        .setHeads(Fields.Rotary.Y, y.address(), y.batchStride(), y.seqStride(), y.headStride())
        .set(Fields.Rotary.STREAM, stream == null ? 0 : stream.handle());
    context.run(x.batch() * x.seq() * x.heads() * headDim * 2 * dtype.bytes(), 0);
  }

  private void requireHeads(
      String xName, @Nullable HeadsView x, String yName, @Nullable HeadsView y) {
    requireHeads(xName, x);
    requireHeads(yName, y);
    if (!y.hasShapeOf(x)) {
      throw new IllegalArgumentException(
          yName
              + ": shape "
              + Arrays.toString(y.shape())
              + "; expected "
              + Arrays.toString(x.shape())
              + ", as "
              + xName
              + " has");
    }
    if (!y.hasDistinctElements()) {
      throw new IllegalArgumentException(
          yName
              + ": "
              + y
              + " overlaps itself; expected strides that give each element its own address");
    }
    if (!y.isInPlaceOf(x)) {
      requireNoOverlap(yName, y, xName, x);
    }
  }

  private void requireHeads(String name, @Nullable HeadsView heads) {
    required(name, heads);
    if (heads.dtype() != dtype) {
      throw new IllegalArgumentException(name + ": dtype " + heads.dtype() + "; expected " + dtype);
    }
    if (heads.headDim() != headDim) {
      throw new IllegalArgumentException(
          name
              + ": heads of "
              + heads.headDim()
              + " elements; expected "
              + headDim
              + ", the op's headDim");
    }
    requireDevice(name, heads.device());
  }

  private void requireTable(@Nullable RotaryTable table, String xName, HeadsView x) {
    if (table == null) {
      throw new IllegalArgumentException("table: null; expected a RotaryTable");
    }
    if (table.spec().rotaryDim() != rotaryDim) {
      throw new IllegalArgumentException(
          "table: "
              + table.spec().rotaryDim() / 2
              + " pairs; expected "
              + rotaryDim / 2
              + ", half of the op's rotaryDim");
    }
    if (table.dtype() != tableDType) {
      throw new IllegalArgumentException(
          "table: dtype " + table.dtype() + "; expected " + tableDType);
    }
    requireDevice("table", table.device());
    if (!table.fits(x.batch(), x.seq())) {
      throw new IllegalArgumentException(
          "table: positions of shape "
              + Arrays.toString(table.shape())
              + "; expected ["
              + x.seq()
              + "] or ["
              + x.batch()
              + ", "
              + x.seq()
              + "], as "
              + xName
              + " has tokens; slice(from, to) takes a part of a table");
    }
  }

  private void requireDevice(String name, Device actual) {
    if (actual != device && !actual.equals(device)) {
      throw new IllegalArgumentException(
          name + ": is on " + actual + "; expected it on " + device + ", as the op is");
    }
  }

  private void requireStream(@Nullable CudaStream stream) {
    if (stream == null) {
      return;
    }
    if (device.isCpu()) {
      throw new IllegalArgumentException(
          "stream: given as " + stream + ", but the op is on the CPU; expected none");
    }
    if (!stream.device().equals(device)) {
      throw new IllegalArgumentException(
          "stream: " + stream + "; expected one of " + device + ", as the op is");
    }
  }

  private static void requireNoOverlap(
      String name, HeadsView output, String other, HeadsView heads) {
    if (output.overlaps(heads)) {
      throw new IllegalArgumentException(
          name
              + ": "
              + output
              + " overlaps "
              + other
              + ", "
              + heads
              + "; expected memory of its own, or "
              + (name.equals("y") || name.equals("dx") ? other : "its input")
              + " itself");
    }
  }

  private static void requireApartFromTable(
      RotaryTable table, TensorView cos, TensorView sin, String name, HeadsView output) {
    if (output.overlaps(cos) || output.overlaps(sin)) {
      throw new IllegalArgumentException(
          name + ": " + output + " overlaps the table, " + table + "; expected memory of its own");
    }
  }

  private static HeadsView required(String name, @Nullable HeadsView heads) {
    if (heads == null) {
      throw new IllegalArgumentException(name + ": null; expected heads");
    }
    return heads;
  }

  static DType requireDType(String name, DType dtype) {
    Objects.requireNonNull(dtype, () -> name + ": null; expected a DType");
    checkArgument(
        dtype == DType.FLOAT32 || dtype == DType.BFLOAT16 || dtype == DType.FLOAT16,
        "%s: %s; expected FLOAT32, BFLOAT16 or FLOAT16",
        name,
        dtype);
    return dtype;
  }

  private record DestroyPlan(long plan) implements Runnable {
    @Override
    public void run() {
      RotaryPlan.destroy(plan);
    }
  }

  /** Builds a {@link Rotary}. Not thread-safe. */
  public static final class Builder extends OpBuilder<Builder> {
    private final int headDim;
    private int rotaryDim;
    private @Nullable DType dtype;
    private @Nullable DType tableDType;
    private @Nullable RotaryLayout layout;
    private @Nullable RotaryRounding rounding;

    private Builder(int headDim, int rotaryDim) {
      checkArgument(
          headDim >= 2 && headDim <= RotarySpec.MAX_HEAD_DIM,
          "headDim: %s; expected 2 to %s",
          headDim,
          RotarySpec.MAX_HEAD_DIM);
      this.headDim = headDim;
      this.rotaryDim = rotaryDim;
    }

    @Override
    Builder self() {
      return this;
    }

    /**
     * Sets the number of elements, from the start of a head, that rotate. The head size if not set.
     *
     * @throws IllegalArgumentException if it is odd, or not within 2 to the head size
     */
    public Builder rotaryDim(int rotaryDim) {
      this.rotaryDim = requireRotaryDim(rotaryDim);
      return this;
    }

    private int requireRotaryDim(int rotaryDim) {
      checkArgument(
          rotaryDim >= 2 && rotaryDim <= headDim && rotaryDim % 2 == 0,
          "rotaryDim: %s; expected an even number from 2 to headDim, %s",
          rotaryDim,
          headDim);
      return rotaryDim;
    }

    /**
     * Sets the dtype of heads. Must be set.
     *
     * @throws IllegalArgumentException if it is not FLOAT32, BFLOAT16 or FLOAT16
     */
    public Builder dtype(DType dtype) {
      this.dtype = requireDType("dtype", dtype);
      return this;
    }

    /**
     * Sets the dtype of tables. Must be set.
     *
     * @throws IllegalArgumentException if it is not FLOAT32, BFLOAT16 or FLOAT16
     */
    public Builder tableDType(DType dtype) {
      this.tableDType = requireDType("tableDType", dtype);
      return this;
    }

    /** Sets the layout of pairs. Must be set. */
    public Builder layout(RotaryLayout layout) {
      this.layout = Objects.requireNonNull(layout, "layout: null; expected a RotaryLayout");
      return this;
    }

    /** Sets the rounding. Must be set. */
    public Builder rounding(RotaryRounding rounding) {
      this.rounding = Objects.requireNonNull(rounding, "rounding: null; expected a RotaryRounding");
      return this;
    }

    /**
     * Returns the op.
     *
     * @throws IllegalArgumentException if the head size is odd and no rotary dimension is set, or
     *     the CUDA device does not exist
     * @throws IllegalStateException if a dtype, the layout or the rounding is not set
     * @throws UnsupportedOperationException if this machine lacks the vector level or CUDA; the
     *     message gives the reason
     * @throws CudaException if CUDA reports an error, from this call or from earlier work
     * @throws UnsatisfiedLinkError if the native library can't be loaded; the message says what to
     *     do
     */
    public Rotary build() {
      requireRotaryDim(rotaryDim);
      checkState(dtype != null, "dtype: not set; expected the dtype of heads, by dtype(DType)");
      checkState(
          tableDType != null,
          "tableDType: not set; expected the dtype of tables, by tableDType(DType)");
      checkState(
          layout != null, "layout: not set; expected the layout of pairs, by layout(RotaryLayout)");
      checkState(
          rounding != null,
          "rounding: not set; expected where to round, by rounding(RotaryRounding)");
      return new Rotary(this);
    }
  }
}
