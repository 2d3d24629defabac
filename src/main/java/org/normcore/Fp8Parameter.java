package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.UseGuard;

/**
 * A model parameter in FP8: bits, scales and, optionally, the values it was quantised from.
 *
 * <pre>{@code
 * Fp8Spec spec = Fp8Spec.builder(DType.FLOAT8_E4M3)
 *     .initialValue(InitialValue.KEEP_UNTIL_FIRST_FORWARD).build();
 * try (NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 4);
 *     Fp8Parameter weight = Fp8Parameter.quantize(
 *         memory.view(DType.FLOAT32, 4).copyFrom(new float[] {0.1f, 0.25f, -0.5f, 1}), spec);
 *     MasterWeights master = weight.masterWeights()) {
 *   System.out.println(master.origin());           // FROM_INITIAL_VALUE
 *   System.out.println(weight.dequantized(DType.FLOAT32).toFloats()[0]);   // 0.09821429
 *   weight.markForward();                          // norms call this; frees the initial value
 *   System.out.println(weight.hasInitialValue());  // false
 *   weight.update(master.values());                // after each optimiser step
 * }
 * }</pre>
 *
 * <p><b>Values.</b> {@code q = rd(v * scale)}, {@code v = q * scaleInv}, products in float32,
 * {@code rd} to nearest even and saturating; scales as {@link Fp8Scaling} defines and {@link
 * Fp8Recipe} chooses them. The bits are the same on every device. Special cases:
 *
 * <table>
 * <caption>Special values</caption>
 * <tr><th>values</th><th>one scale</th><th>blocks of 32</th></tr>
 * <tr><td>all zero, or empty</td><td>amax 0, scale 1; zeros keep their sign</td><td>code 0, 2^-127;
 *     the same</td></tr>
 * <tr><td>NaN</td><td>stays NaN; ignored in amax</td><td>the same</td></tr>
 * <tr><td>infinity</td><td>amax infinity, scale 1: infinity becomes the largest FP8 value of its
 *     sign, other values are rounded unscaled</td><td>code 254: the same in its block, where finite
 *     values of at most 2^117 (E4M3) or 2^110 (E5M2) underflow to 0; other blocks are
 *     unaffected</td></tr>
 * <tr><td>below about {@code largest * 2^-128}, such as float32 subnormals</td><td>the scale is the
 *     largest float32 number, or power of two, and no longer fills the format's range</td><td>code
 *     0, 2^-127: the same</td></tr>
 * </table>
 *
 * <p><b>Shapes and dtypes.</b> Sources are float32, bfloat16 or float16 of any shape and row
 * stride; bits have the same shape, contiguous. Sources are only read.
 *
 * <p><b>Memory.</b> One byte per element and the scales, on {@link #device()}; the initial value,
 * if kept, in host memory; one dequantised copy for each dtype that {@link #dequantized} or a norm
 * has requested. An update allocates no native memory. {@link #close()} frees everything; otherwise
 * the garbage collector does, after the parameter and all views of it have become unreachable.
 *
 * <p><b>Threads.</b> On the CPU all work runs in the calling thread. Any number of threads may read
 * at once. {@link #update}, {@link #to} and {@link #close} are exclusive: each throws while another
 * call, for instance of a norm, uses the parameter, and other calls throw while it runs. Threads
 * may read and clear the initial value concurrently. Accesses through views are not synchronised.
 *
 * <p><b>CUDA devices.</b> A call queues its work in the given stream, by default the device's
 * default stream. The caller orders calls in different streams; that includes a read of a
 * dequantised copy after the call that made or updated it. {@link #quantize}, {@link
 * #masterWeights} and {@link #to} allocate and wait for the stream. The other calls are
 * asynchronous and can be captured into a CUDA graph, with three exceptions: the first use of a
 * dequantised copy allocates it, clearing a kept initial value may wait for the device, and each
 * update with {@link Fp8Recipe#DELAYED} writes a different history entry.
 *
 * <p><b>Tensor parallelism.</b> If a tensor is sharded over several processes, a common scale needs
 * the maximum amax of all shards. {@link #amax(TensorView, TensorView, CudaStream)} computes the
 * amax of the local shard; the caller reduces it and passes the result to {@link
 * #quantize(TensorView, Fp8Spec, TensorView, Device, CudaStream)} and {@link #update(TensorView,
 * TensorView, CudaStream)}. With delayed scaling only the first quantisation needs this: later,
 * reduce {@link #amax()} in place after an update, because the next update reads it.
 *
 * <p><b>Errors.</b> As for norms: a call that rejects its arguments has written nothing; {@link
 * CudaException} may report earlier work.
 */
public final class Fp8Parameter implements AutoCloseable {
  private static final String NAME = "Fp8Parameter";

  /** A tensor of dequantised values, and its memory. */
  private record Copy(OwnedMemory memory, TensorView view) {}

  private static final Copy[] NO_COPIES = new Copy[DType.values().length];

  private final Fp8Spec spec;
  private final long[] shape;
  private final InitialValueHolder initialValue;
  private final UseGuard guard = new UseGuard(NAME);

  /** Written under exclusive use, or before the object is shared. */
  private volatile Fp8Storage storage;

  private volatile @Nullable CudaStream defaultStream;

  /**
   * By dtype. Replaced, never modified: two dtypes may be requested for the first time
   * concurrently.
   */
  private volatile Copy[] copies = NO_COPIES;

  private volatile boolean isUpdated;

  private Fp8Parameter(
      Fp8Spec spec, long[] shape, InitialValueHolder initialValue, Fp8Storage storage) {
    this.spec = spec;
    this.shape = shape;
    this.initialValue = initialValue;
    this.storage = storage;
    this.defaultStream = defaultStream(storage.device());
  }

  /**
   * Quantises a tensor on its own device, in the default stream, with the tensor's own amax. As
   * {@link #quantize(TensorView, Fp8Spec, TensorView, Device, CudaStream)}.
   */
  public static Fp8Parameter quantize(TensorView source, Fp8Spec spec) {
    return quantize(source, spec, null, TensorView.required("source", source).device(), null);
  }

  /**
   * Quantises a tensor on its own device, with an amax that the caller has reduced. As {@link
   * #quantize(TensorView, Fp8Spec, TensorView, Device, CudaStream)}.
   */
  public static Fp8Parameter quantize(TensorView source, Fp8Spec spec, TensorView reducedAmax) {
    TensorView.required("reducedAmax", reducedAmax);
    return quantize(
        source, spec, reducedAmax, TensorView.required("source", source).device(), null);
  }

  /**
   * Quantises a tensor on its own device, and places the bits on the given device.
   *
   * @param source float32, bfloat16 or float16, on the CPU or a CUDA device; only read, and no
   *     longer needed on return
   * @param reducedAmax one float32 number on the source's device, used instead of the source's own
   *     amax; null to use its own. Not validated: with NaN or a negative number the scale is 1.
   *     Only with {@link Fp8Recipe#CURRENT} and {@link Fp8Recipe#DELAYED}
   * @param device the device for bits and scales
   * @param stream a stream of the source's device or, if that is the CPU, of {@code device}; null
   *     for the default stream; null if both are the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, size or
   *     device
   * @throws UnsupportedOperationException if CUDA is required and not available
   * @throws OutOfMemoryError if memory is exhausted
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static Fp8Parameter quantize(
      TensorView source,
      Fp8Spec spec,
      @Nullable TensorView reducedAmax,
      Device device,
      @Nullable CudaStream stream) {
    requireWide("source", source);
    checkArgument(spec != null, "spec: null; expected an Fp8Spec");
    checkArgument(device != null, "device: null; expected the device for the bits");
    requireReduced(reducedAmax, spec, source.device());
    for (Device each : new Device[] {source.device(), device}) {
      if (!each.isCpu()) {
        Cuda.requireDevice(each == device ? "device" : "source", each);
      }
    }
    Device working = source.device().isCpu() ? device : source.device();
    CudaStream used = requireStream(working, stream);
    Leases leases = Leases.begin(source, "source", reducedAmax, "reducedAmax", used);
    try {
      CudaStream sourceStream = source.device().isCpu() ? null : used;
      Fp8Storage storage = Fp8Storage.allocate(spec, source, sourceStream);
      InitialValueHolder kept = null;
      boolean done = false;
      try {
        kept = new InitialValueHolder(spec.initialValue(), source, !device.isCpu(), sourceStream);
        storage.quantize(source, reducedAmax, sourceStream);
        if (!device.equals(source.device())) {
          Fp8Storage moved = storage.copiedTo(device, Objects.requireNonNull(used));
          storage.memory().close();
          storage = moved;
        } else if (used != null) {
          used.synchronize();
        }
        Fp8Parameter parameter = new Fp8Parameter(spec, source.shape(), kept, storage);
        done = true;
        return parameter;
      } finally {
        if (!done) {
          storage.memory().close();
          if (kept != null) {
            kept.clear("the parameter could not be created");
          }
        }
      }
    } finally {
      leases.end();
    }
  }

  /**
   * Returns the largest {@code |x|} of a tensor in host memory, ignoring NaN; 0 if the tensor is
   * empty or all NaN.
   *
   * @param source float32, bfloat16 or float16
   * @throws IllegalArgumentException if it is null, closed or of another dtype
   * @throws UnsupportedOperationException if it is not in host memory
   */
  public static float amax(TensorView source) {
    requireWide("source", source);
    if (!source.device().isCpu()) {
      throw new UnsupportedOperationException(
          "source: is on "
              + source.device()
              + "; expected host memory, or a target on that device, by"
              + " Fp8Parameter.amax(source, target, stream)");
    }
    try (NativeBuffer buffer = NativeBuffer.allocate(DType.FLOAT32, 1)) {
      TensorView target = buffer.view(DType.FLOAT32, 1);
      amax(source, target, null);
      return target.toFloats()[0];
    }
  }

  /**
   * Writes the largest {@code |x|} of a tensor, ignoring NaN, to a float32 number on its device; 0
   * if the tensor is empty or all NaN.
   *
   * @param source float32, bfloat16 or float16
   * @param target one float32 number, aligned to 4 bytes
   * @param stream a stream of the tensors' device; null for its default stream and on the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, size or
   *     device, the two overlap, or the target is in an initial value or a dequantised copy of an
   *     Fp8Parameter
   * @throws UnsupportedOperationException if CUDA is required and not available
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public static void amax(TensorView source, TensorView target, @Nullable CudaStream stream) {
    requireWide("source", source);
    requireNumber("target", target, source.device());
    checkArgument(
        target.address() % 4 == 0,
        "target: address %s; expected a multiple of 4",
        target.address());
    checkArgument(!target.overlaps(source), "target: overlaps the source %s", source);
    target.requireWritable("target");
    CudaStream used = requireStream(source.device(), stream);
    Leases leases = Leases.begin(source, "source", target, "target", used);
    try {
      long handle = used == null ? 0 : used.handle();
      Fp8Storage.zero(source.device(), target.address(), handle);
      Fp8Storage.amax(source, target.address(), handle);
    } finally {
      leases.end();
    }
  }

  /** Returns the quantisation spec. */
  public Fp8Spec spec() {
    return spec;
  }

  /** Returns a copy of the shape. */
  public long[] shape() {
    return shape.clone();
  }

  /** Returns the device of bits and scales. */
  public Device device() {
    return storage.device();
  }

  /**
   * Returns the bits, contiguous, in the parameter's shape and the spec's format. A view of this
   * object's memory: an update changes it.
   *
   * @throws IllegalStateException if the parameter is closed
   */
  public TensorView data() {
    guard.checkOpen();
    return storage.data();
  }

  /**
   * Returns the scale of the last quantisation, one float32 number on {@link #device()}. A view of
   * this object's memory: an update changes it.
   *
   * @throws IllegalStateException if the parameter is closed
   * @throws UnsupportedOperationException with {@link Fp8Recipe#MXFP8}, which stores the inverse
   *     scales only
   */
  public TensorView scale() {
    requireOneScale("scale", "scaleInv()");
    return storage.scale();
  }

  /**
   * Returns the factor that dequantises the bits: one float32 number or, with {@link
   * Fp8Recipe#MXFP8}, {@code [.., ceil(columns / 32)]} numbers in {@link DType#FLOAT8_E8M0}, on
   * {@link #device()}. A view of this object's memory: an update changes it.
   *
   * @throws IllegalStateException if the parameter is closed
   */
  public TensorView scaleInv() {
    guard.checkOpen();
    return storage.scaleInv();
  }

  /**
   * Returns the amax of the last quantisation, one float32 number on {@link #device()}: the data's
   * own, or the reduced one. A view of this object's memory: an update changes it. With {@link
   * Fp8Recipe#DELAYED} the next update copies it from here into the history, so several processes
   * may reduce their amaxes in place.
   *
   * @throws IllegalStateException if the parameter is closed
   * @throws UnsupportedOperationException with {@link Fp8Recipe#MXFP8}, which computes an amax per
   *     block and stores none
   */
  public TensorView amax() {
    requireOneScale("amax", "Fp8Parameter.amax(master)");
    return storage.amax();
  }

  private void requireOneScale(String what, String instead) {
    guard.checkOpen();
    if (spec.scaling() == Fp8Scaling.BLOCK) {
      throw new UnsupportedOperationException(
          what + ": not stored with " + spec.recipe() + "; expected a call of " + instead);
    }
  }

  /** Dequantises into a tensor. As {@link #dequantize(TensorView, CudaStream)}. */
  public void dequantize(TensorView target) {
    dequantize(target, null);
  }

  /**
   * Dequantises into a tensor: {@code rd(q * scaleInv)}, the product in float32.
   *
   * @param target float32, bfloat16 or float16, in the parameter's shape, on its device
   * @param stream a stream of the parameter's device; null for its default stream and on the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, shape or
   *     device, or the target overlaps the memory, kept initial value or dequantised copies of this
   *     or another parameter
   * @throws IllegalStateException if the parameter is closed or being modified
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void dequantize(TensorView target, @Nullable CudaStream stream) {
    guard.acquire();
    try {
      requireTarget(target);
      CudaStream used = requireStream(device(), stream, defaultStream);
      Leases leases = Leases.begin(target, "target", null, "", used);
      try {
        storage.dequantize(target, used);
      } finally {
        leases.end();
      }
    } finally {
      guard.release();
    }
  }

  /** Returns a dequantised copy. As {@link #dequantized(DType, CudaStream)}. */
  public TensorView dequantized(DType dtype) {
    return dequantized(dtype, null);
  }

  /**
   * Returns a dequantised copy, in memory that this object owns. The first call for a dtype creates
   * the copy, every update refreshes it in the update's stream, and it lives until the parameter is
   * moved or closed. Norms with this parameter as their weight read this copy.
   *
   * @param dtype float32, bfloat16 or float16
   * @param stream a stream of the parameter's device, in which a missing copy is created; null for
   *     its default stream and on the CPU
   * @throws IllegalArgumentException if the dtype is not one of these, or the stream is closed or
   *     of another device
   * @throws IllegalStateException if the parameter is closed or being modified
   * @throws OutOfMemoryError if memory is exhausted
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public TensorView dequantized(DType dtype, @Nullable CudaStream stream) {
    guard.acquire();
    try {
      requireWide("dtype", dtype);
      return copy(dtype, requireStream(device(), stream, defaultStream));
    } finally {
      guard.release();
    }
  }

  /** The copy in a dtype. The caller must have acquired this object. */
  private TensorView copy(DType dtype, @Nullable CudaStream stream) {
    Copy present = copies[dtype.ordinal()];
    if (present != null) {
      return present.view;
    }
    synchronized (this) {
      present = copies[dtype.ordinal()];
      if (present != null) {
        return present.view;
      }
      Leases leases = Leases.begin(null, "", null, "", stream);
      OwnedMemory memory = null;
      boolean done = false;
      try {
        memory = allocate(dtype);
        memory.makeReadOnly("a dequantised copy of an Fp8Parameter");
        Copy made = new Copy(memory, memory.view(dtype, shape));
        storage.dequantize(made.view, stream);
        Copy[] more = copies.clone();
        more[dtype.ordinal()] = made;
        copies = more;
        done = true;
        return made.view;
      } finally {
        leases.end();
        if (!done && memory != null) {
          memory.close();
        }
      }
    }
  }

  /** Returns the float32 values. As {@link #masterWeights(CudaStream)}. */
  public MasterWeights masterWeights() {
    return masterWeights(null);
  }

  /**
   * Returns the float32 values in new memory on the parameter's device, which the caller must
   * close. They come from the initial value if it is kept and no update has replaced it; otherwise
   * from the bits. {@link MasterWeights#origin()} tells which. Waits for the stream.
   *
   * @param stream a stream of the parameter's device; null for its default stream and on the CPU
   * @throws IllegalArgumentException if the stream is closed or of another device
   * @throws IllegalStateException if the parameter is closed or being modified
   * @throws OutOfMemoryError if memory is exhausted
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public MasterWeights masterWeights(@Nullable CudaStream stream) {
    guard.acquire();
    try {
      CudaStream used = requireStream(device(), stream, defaultStream);
      Leases leases = Leases.begin(null, "", null, "", used);
      OwnedMemory memory = null;
      TensorView kept = null;
      boolean done = false;
      try {
        memory = allocate(DType.FLOAT32);
        TensorView values = memory.view(DType.FLOAT32, shape);
        kept = isUpdated ? null : initialValue.tryAcquire();
        if (kept == null) {
          storage.dequantize(values, used);
        } else if (used == null) {
          values.copyFrom(kept);
        } else {
          upload(kept, values, used);
        }
        if (used != null) {
          used.synchronize();
        }
        done = true;
        return new MasterWeights(
            memory,
            values,
            kept == null ? MasterWeights.Origin.FROM_FP8 : MasterWeights.Origin.FROM_INITIAL_VALUE);
      } finally {
        if (kept != null) {
          InitialValueHolder.release(kept);
        }
        leases.end();
        if (!done && memory != null) {
          memory.close();
        }
      }
    } finally {
      guard.release();
    }
  }

  private static void upload(TensorView source, TensorView target, CudaStream stream) {
    if (source.dtype() == target.dtype()) {
      target.copyFrom(source, stream);
      return;
    }
    try (NativeBuffer staging = NativeBuffer.allocate(target.dtype(), target.shape())) {
      TensorView wide = staging.view(target.dtype(), target.shape()).copyFrom(source);
      target.copyFrom(wide, stream);
      stream.synchronize();
    }
  }

  /** Quantises new values. As {@link #update(TensorView, TensorView, CudaStream)}. */
  public void update(TensorView master) {
    update(master, null, null);
  }

  /**
   * Quantises new values with an amax that the caller has reduced. As {@link #update(TensorView,
   * TensorView, CudaStream)}.
   */
  public void update(TensorView master, TensorView reducedAmax) {
    update(master, TensorView.required("reducedAmax", reducedAmax), null);
  }

  /**
   * Replaces the values: quantises new ones by the same recipe and refreshes the dequantised
   * copies. Allocates no native memory. A kept initial value does not change.
   *
   * @param master float32, bfloat16 or float16, in the parameter's shape, on its device
   * @param reducedAmax one float32 number on the parameter's device, used instead of the values'
   *     own amax; null to use their own. Not validated: with NaN or a negative number the scale is
   *     1; a history ignores NaN and uses magnitudes. Only with {@link Fp8Recipe#CURRENT} and
   *     {@link Fp8Recipe#DELAYED}
   * @param stream a stream of the parameter's device; null for its default stream and on the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, shape or
   *     device, or overlaps the parameter's memory
   * @throws IllegalStateException if the parameter is closed or in use by another call
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void update(
      TensorView master, @Nullable TensorView reducedAmax, @Nullable CudaStream stream) {
    guard.acquireExclusive();
    try {
      requireLike("master", master);
      requireApartFromCopies("master", master);
      requireReduced(reducedAmax, spec, device());
      CudaStream used = requireStream(device(), stream, defaultStream);
      Leases leases = Leases.begin(master, "master", reducedAmax, "reducedAmax", used);
      try {
        isUpdated = true;
        storage.quantize(master, reducedAmax, used);
        for (Copy copy : copies) {
          if (copy != null) {
            storage.dequantize(copy.view, used);
          }
        }
      } finally {
        leases.end();
      }
    } finally {
      guard.release();
    }
  }

  /** Moves the parameter. As {@link #to(Device, CudaStream)}. */
  public Fp8Parameter to(Device device) {
    return to(device, null);
  }

  /**
   * Moves bits, scales and the history of delayed scaling to another device, bit for bit. A kept
   * initial value stays in host memory, which a move to a CUDA device page-locks. The move
   * invalidates existing views; get new ones. Dequantised copies are created again on demand. Does
   * nothing if the parameter is already on the device. Waits for the stream.
   *
   * @param stream a stream of the parameter's CUDA device or, if it is on the CPU, of the target
   *     device; null for the default stream
   * @return this
   * @throws IllegalArgumentException if the device is null or a CUDA device that does not exist, or
   *     the stream is closed or of another device
   * @throws IllegalStateException if the parameter is closed or in use by another call
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws OutOfMemoryError if memory is exhausted
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public Fp8Parameter to(Device device, @Nullable CudaStream stream) {
    checkArgument(device != null, "device: null; expected the device for the bits");
    guard.acquireExclusive();
    try {
      Device from = device();
      if (!device.isCpu()) {
        Cuda.requireDevice("device", device);
      }
      CudaStream used = requireStream(from.isCpu() ? device : from, stream);
      if (device.equals(from)) {
        return this;
      }
      Leases leases = Leases.begin(null, "", null, "", used);
      boolean acquired = false;
      boolean done = false;
      try {
        acquireMemory();
        acquired = true;
        if (!device.isCpu()) {
          initialValue.lockPages();
        }
        Fp8Storage moved = storage.copiedTo(device, Objects.requireNonNull(used));
        OwnedMemory left = storage.memory();
        Copy[] leftCopies = copies;
        storage = moved;
        defaultStream = defaultStream(device);
        copies = NO_COPIES;
        done = true;
        free(left, leftCopies);
      } finally {
        if (acquired && !done) {
          releaseMemory();
        }
        leases.end();
      }
      return this;
    } finally {
      guard.release();
    }
  }

  /** Returns whether the initial value is kept. */
  public boolean hasInitialValue() {
    return initialValue.isKept();
  }

  /**
   * Returns the values that this was quantised from, bit for bit, contiguous, in the source's dtype
   * and shape, in host memory. Read-only; any number of threads may read it.
   *
   * <p>The view does not keep the values alive: once they are cleared, a call on it throws as for a
   * closed {@link NativeBuffer}. Copies queued in a CUDA stream must be complete by then.
   *
   * @throws IllegalStateException if the parameter is closed, or the values are gone; the message
   *     gives the reason: not kept, cleared, or kept until the first forward
   */
  public TensorView initialValue() {
    guard.checkOpen();
    return initialValue.view();
  }

  /**
   * Frees the initial value. Does nothing if it is already cleared, or was not kept.
   *
   * <p>New calls on it throw at once. This method waits for calls in progress, so the memory is
   * free on return.
   *
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void clearInitialValue() {
    initialValue.clear("it has been cleared");
  }

  /**
   * Marks the parameter as used. Clears the initial value, as {@link #clearInitialValue()} does, if
   * it is kept until the first forward; does nothing otherwise. Norms call this after a successful
   * forward or inference with the parameter as weight, on a CUDA device after queueing it. For
   * other operations the caller calls it.
   *
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void markForward() {
    initialValue.markForward();
  }

  /**
   * Frees all memory. Does nothing if already closed, or if another thread is closing it. Waits for
   * readers of the initial value and, on a CUDA device, until the device is idle.
   *
   * @throws IllegalStateException if another call, except {@code close()}, uses the parameter, or
   *     any call uses a view of its memory
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  @Override
  public void close() {
    if (!guard.acquireToClose()) {
      return;
    }
    boolean refused = true;
    try {
      acquireMemory();
      refused = false;
    } finally {
      if (refused) {
        guard.release();
      } else {
        guard.closeExclusive();
      }
    }
    try {
      initialValue.clear("the Fp8Parameter is closed");
    } finally {
      free(storage.memory(), copies);
    }
  }

  /** Returns, for example, {@code Fp8Parameter(FLOAT8_E4M3[64, 32] on cpu, CURRENT)}. */
  @Override
  public String toString() {
    return NAME
        + "("
        + spec.format()
        + Arrays.toString(shape)
        + " on "
        + device()
        + ", "
        + spec.recipe()
        + (hasInitialValue() ? ", initial value kept" : "")
        + (guard.isOpen() ? ")" : ", closed)");
  }

  boolean hasShape(long[] expected) {
    return Arrays.equals(shape, expected);
  }

  /**
   * Begins a forward with this as the weight and returns the values in a norm's weight dtype. The
   * caller must call {@link #endForward}.
   */
  TensorView beginForward(DType dtype, @Nullable CudaStream stream) {
    if (!guard.tryAcquire()) {
      throw new IllegalArgumentException(
          guard.isOpen()
              ? "weight: another call is modifying it; expected an " + NAME + " that is idle"
              : "weight: is closed; expected an open " + NAME);
    }
    boolean done = false;
    try {
      requireWide("weight: the norm's weight dtype", dtype);
      TensorView values = copy(dtype, stream);
      done = true;
      return values;
    } finally {
      if (!done) {
        guard.release();
      }
    }
  }

  void endForward(boolean succeeded) {
    guard.release();
    if (succeeded) {
      markForward();
    }
  }

  /** Acquires all device memory exclusively, or none of it if a view is in use. */
  private void acquireMemory() {
    storage.memory().guard().acquireExclusive();
    int acquired = 0;
    boolean done = false;
    Copy[] all = copies;
    try {
      for (; acquired < all.length; acquired++) {
        if (all[acquired] != null) {
          all[acquired].memory.guard().acquireExclusive();
        }
      }
      done = true;
    } finally {
      if (!done) {
        storage.memory().guard().release();
        for (int i = 0; i < acquired; i++) {
          if (all[i] != null) {
            all[i].memory.guard().release();
          }
        }
      }
    }
  }

  private void releaseMemory() {
    storage.memory().guard().release();
    for (Copy copy : copies) {
      if (copy != null) {
        copy.memory.guard().release();
      }
    }
  }

  private static void free(OwnedMemory memory, Copy[] copies) {
    memory.closeExclusive();
    for (Copy copy : copies) {
      if (copy != null) {
        copy.memory.closeExclusive();
      }
    }
  }

  private OwnedMemory allocate(DType dtype) {
    Device device = device();
    return device.isCpu()
        ? NativeBuffer.allocate(dtype, shape)
        : CudaBuffer.allocate(device, dtype, shape);
  }

  private static void requireWide(String argument, @Nullable DType dtype) {
    if (dtype == null || !dtype.isNormType() || dtype == DType.FLOAT64) {
      throw new IllegalArgumentException(
          argument + ": " + dtype + "; expected FLOAT32, BFLOAT16 or FLOAT16");
    }
  }

  private static void requireWide(String argument, @Nullable TensorView view) {
    TensorView.required(argument, view);
    requireWide(argument + ": dtype", view.dtype());
  }

  private static void requireNumber(String argument, @Nullable TensorView number, Device expected) {
    TensorView.required(argument, number);
    checkArgument(
        number.dtype() == DType.FLOAT32 && number.elements() == 1,
        "%s: %s; expected one FLOAT32 number",
        argument,
        number);
    checkArgument(
        number.device().equals(expected),
        "%s: is on %s; expected it on %s",
        argument,
        number.device(),
        expected);
  }

  private static void requireReduced(
      @Nullable TensorView reducedAmax, Fp8Spec spec, Device expected) {
    if (reducedAmax == null) {
      return;
    }
    checkArgument(
        spec.recipe() == Fp8Recipe.CURRENT || spec.recipe() == Fp8Recipe.DELAYED,
        "reducedAmax: given with %s; expected none, because this recipe derives no scale from it",
        spec.recipe());
    requireNumber("reducedAmax", reducedAmax, expected);
  }

  /** Checks a source or target tensor. */
  private void requireLike(String argument, @Nullable TensorView view) {
    requireWide(argument, view);
    checkArgument(
        view.hasShape(shape),
        "%s: shape %s; expected %s, as the Fp8Parameter has",
        argument,
        Arrays.toString(view.shape()),
        Arrays.toString(shape));
    checkArgument(
        view.device().equals(device()),
        "%s: is on %s; expected it on %s, as the Fp8Parameter is",
        argument,
        view.device(),
        device());
    OwnedMemory own = storage.memory();
    requireNoOverlap(argument, view.overlaps(own.address(), own.bytes()));
  }

  /** Checks a target. Unlike a source, it must not overlap an initial value or a copy. */
  private void requireTarget(@Nullable TensorView target) {
    requireLike("target", target);
    requireNoOverlap("target", initialValue.overlaps(target));
    requireApartFromCopies("target", target);
    target.requireWritable("target");
  }

  private void requireApartFromCopies(String argument, TensorView view) {
    for (Copy copy : copies) {
      requireNoOverlap(argument, copy != null && view.overlaps(copy.view));
    }
  }

  private static void requireNoOverlap(String argument, boolean overlaps) {
    checkArgument(
        !overlaps,
        "%s: overlaps the memory of this Fp8Parameter; expected memory of its own",
        argument);
  }

  /** Holds the tensors and the stream of a call until it ends. */
  private record Leases(
      @Nullable TensorView first,
      boolean firstAcquired,
      @Nullable TensorView second,
      boolean secondAcquired,
      @Nullable CudaStream stream) {
    static Leases begin(
        @Nullable TensorView first,
        String firstName,
        @Nullable TensorView second,
        String secondName,
        @Nullable CudaStream stream) {
      boolean firstAcquired = first != null && first.acquire(firstName);
      boolean secondAcquired = false;
      boolean done = false;
      try {
        secondAcquired = second != null && second.acquire(secondName);
        if (stream != null) {
          stream.acquire();
        }
        done = true;
        return new Leases(first, firstAcquired, second, secondAcquired, stream);
      } finally {
        if (!done) {
          release(first, firstAcquired);
          release(second, secondAcquired);
        }
      }
    }

    void end() {
      release(first, firstAcquired);
      release(second, secondAcquired);
      if (stream != null) {
        stream.release();
      }
    }

    private static void release(@Nullable TensorView view, boolean acquired) {
      if (view != null) {
        view.release(acquired);
      }
      Reference.reachabilityFence(view);
    }
  }

  private static @Nullable CudaStream defaultStream(Device device) {
    return device.isCpu() ? null : CudaStream.ofDefault(device);
  }

  private static @Nullable CudaStream requireStream(Device device, @Nullable CudaStream stream) {
    return requireStream(device, stream, stream == null ? defaultStream(device) : null);
  }

  private static @Nullable CudaStream requireStream(
      Device device, @Nullable CudaStream stream, @Nullable CudaStream otherwise) {
    if (stream == null) {
      return otherwise;
    }
    checkArgument(
        stream.device().equals(device),
        "stream: %s; expected %s",
        stream,
        device.isCpu() ? "none, as all is on the CPU" : "one of " + device);
    return stream;
  }
}
