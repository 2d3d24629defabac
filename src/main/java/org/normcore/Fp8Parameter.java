package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.UseGuard;

/**
 * A parameter of a model in FP8: bits, scales and, by option, the values that it was quantised
 * from.
 *
 * <pre>{@code
 * Fp8Spec spec = Fp8Spec.builder(DType.FLOAT8_E4M3)
 *     .initialValue(InitialValue.KEEP_UNTIL_FIRST_FORWARD).build();
 * try (Fp8Parameter weight = Fp8Parameter.quantize(source, spec);
 *     MasterWeights master = weight.masterWeights()) {
 *   norm.infer(Operands.of(x, y).fp8Weight(weight));   // the initial value is freed here
 *   // .. the optimiser changes master.values()
 *   weight.update(master.values());
 * }
 * }</pre>
 *
 * <p><b>Values.</b> {@code q = rd(v * scale)}, {@code v = q * scaleInv}, products in float32,
 * {@code rd} to nearest even and saturating; scales as {@link Fp8Scaling} defines and {@link
 * Fp8Recipe} chooses them. The bits are the same on every device. What there is no number for:
 *
 * <table>
 * <caption>Tensors that are unlike others</caption>
 * <tr><th>values</th><th>one scale</th><th>blocks of 32</th></tr>
 * <tr><td>all zero, or none</td><td>amax 0, scale 1; zeros keep their sign</td><td>code 0, 2^-127;
 *     the same</td></tr>
 * <tr><td>NaN</td><td>stays NaN and is left out of amax</td><td>the same</td></tr>
 * <tr><td>infinity</td><td>amax infinity, scale 1: it becomes the largest FP8 value of its sign, the
 *     others are rounded unscaled</td><td>code 254: the same in its block, where finite values of
 *     at most 2^117 (E4M3) or 2^110 (E5M2) vanish; other blocks are untouched</td></tr>
 * <tr><td>below about {@code largest * 2^-128}, such as float32 subnormals</td><td>the scale is the
 *     largest float32 number, or power of two, and no longer fills the format's range</td><td>code
 *     0, 2^-127: the same</td></tr>
 * </table>
 *
 * <p><b>Shapes and dtypes.</b> Sources are float32, bfloat16 or float16 of any shape, rows a free
 * stride apart; bits have the same shape, contiguous. Nothing is written to a source.
 *
 * <p><b>Memory.</b> One byte for each element and the scales, on {@link #device()}; the initial
 * value in host memory where it is kept; one dequantised copy for each dtype in which {@link
 * #dequantized} or a norm has asked for one. An update allocates no native memory. All is freed by
 * {@link #close()}, or some time after the parameter and all views of it have become unreachable.
 *
 * <p><b>Threads.</b> On the CPU the calling thread does all of the work. Any number may read at
 * once. {@link #update}, {@link #to} and {@link #close} are refused while another call uses the
 * parameter, norms among them, and other calls while they run. The initial value may be read and
 * cleared by any number of threads at once. Nothing orders accesses to the memory through views.
 *
 * <p><b>CUDA devices.</b> Work goes into the stream that a call is given, the default stream of the
 * device otherwise, and is done in its order: a call in another stream has to be ordered by the
 * caller, one that reads a dequantised copy after the one that made or updated it included. {@link
 * #quantize}, {@link #masterWeights} and {@link #to} allocate and wait for the stream; the others
 * return at once and can be captured into a CUDA graph, except for the first use of a dequantised
 * copy, which allocates it, for what clears a kept initial value, which may wait for the device,
 * and for updates with {@link Fp8Recipe#DELAYED}, which take another place in the history each
 * time.
 *
 * <p><b>Tensor parallelism.</b> Where a tensor is spread over several processes, one scale for all
 * of it needs the largest amax of all: {@link #amax(TensorView, TensorView, CudaStream)} computes
 * that of the part here, and what it has been reduced to is passed to {@link #quantize(TensorView,
 * Fp8Spec, TensorView, Device, CudaStream)} and {@link #update(TensorView, TensorView,
 * CudaStream)}. With delayed scaling that is needed for the first quantisation only: later it is
 * enough to reduce {@link #amax()} in place after an update, because the next one reads it from
 * there.
 *
 * <p><b>Errors.</b> As for norms: a call that refuses its arguments has written nothing; {@link
 * CudaException} may report earlier work.
 */
public final class Fp8Parameter implements AutoCloseable {
  private static final String NAME = "Fp8Parameter";

  /** A tensor of dequantised values, and its memory. */
  private record Copy(OwnedMemory memory, TensorView view) {}

  private static final Copy[] NO_COPIES = new Copy[DType.values().length];

  private final Fp8Spec spec;
  private final long[] shape;
  private final KeptValue initialValue;
  private final UseGuard guard = new UseGuard(NAME);

  /** Changed by the only user, or before there is any other. */
  private volatile Fp8Storage storage;

  private volatile @Nullable CudaStream defaultStream;

  /** By dtype. Never changed in place: the first uses of two dtypes may come at once. */
  private volatile Copy[] copies = NO_COPIES;

  private volatile boolean isUpdated;

  private Fp8Parameter(Fp8Spec spec, long[] shape, KeptValue initialValue, Fp8Storage storage) {
    this.spec = spec;
    this.shape = shape;
    this.initialValue = initialValue;
    this.storage = storage;
    this.defaultStream = defaultStream(storage.device());
  }

  /**
   * Quantises a tensor, on its device. As {@link #quantize(TensorView, Fp8Spec, TensorView, Device,
   * CudaStream)} without an amax of the caller's, a device of its own and a stream.
   */
  public static Fp8Parameter quantize(TensorView source, Fp8Spec spec) {
    return quantize(source, spec, null, TensorView.required("source", source).device(), null);
  }

  /**
   * Quantises a tensor, on its device, with an amax that the caller has reduced. As {@link
   * #quantize(TensorView, Fp8Spec, TensorView, Device, CudaStream)}.
   */
  public static Fp8Parameter quantize(TensorView source, Fp8Spec spec, TensorView reducedAmax) {
    TensorView.required("reducedAmax", reducedAmax);
    return quantize(
        source, spec, reducedAmax, TensorView.required("source", source).device(), null);
  }

  /**
   * Quantises a tensor where it is, and puts the bits on a device.
   *
   * @param source float32, bfloat16 or float16, on the CPU or a CUDA device; not written to, and
   *     not needed any more on return
   * @param reducedAmax one float32 number, where the source is, to be taken as the amax in place of
   *     the source's own; null for that. With NaN or a negative number, which are not looked for,
   *     the scale is 1. Only with {@link Fp8Recipe#CURRENT} and {@link Fp8Recipe#DELAYED}
   * @param device where the bits and scales are to be
   * @param stream a stream of the source's device or, if that is the CPU, of {@code device}; null
   *     for the default stream, and if both are the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, size or
   *     device
   * @throws UnsupportedOperationException if CUDA is needed and not available
   * @throws OutOfMemoryError if there is not as much memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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
    checkArgument(device != null, "device: null; expected where the bits are to be");
    requireReduced(reducedAmax, spec, source.device());
    for (Device each : new Device[] {source.device(), device}) {
      if (!each.isCpu()) {
        Cuda.requireDevice(each == device ? "device" : "source", each);
      }
    }
    Device working = source.device().isCpu() ? device : source.device();
    CudaStream used = requireStream(working, stream);
    Uses uses = Uses.begin(source, "source", reducedAmax, "reducedAmax", used);
    try {
      CudaStream sourceStream = source.device().isCpu() ? null : used;
      Fp8Storage storage = Fp8Storage.allocate(spec, source, sourceStream);
      KeptValue kept = null;
      boolean done = false;
      try {
        kept = new KeptValue(spec.initialValue(), source, !device.isCpu(), sourceStream);
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
            kept.clear("the parameter could not be made");
          }
        }
      }
    } finally {
      uses.end();
    }
  }

  /**
   * Returns the largest {@code |x|} of a tensor in host memory, NaN left out; 0 if there is none.
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
   * Writes the largest {@code |x|} of a tensor, NaN left out, to a float32 number on its device; 0
   * if there is none.
   *
   * @param source float32, bfloat16 or float16
   * @param target one float32 number, on a 4-byte boundary
   * @param stream of the tensors' device; null for its default stream, and on the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, size or
   *     device, the two overlap, or the target is in an initial value or a dequantised copy of an
   *     Fp8Parameter
   * @throws UnsupportedOperationException if CUDA is needed and not available
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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
    Uses uses = Uses.begin(source, "source", target, "target", used);
    try {
      long handle = used == null ? 0 : used.handle();
      Fp8Storage.zero(source.device(), target.address(), handle);
      Fp8Storage.amax(source, target.address(), handle);
    } finally {
      uses.end();
    }
  }

  /** Returns what it was quantised with. */
  public Fp8Spec spec() {
    return spec;
  }

  /** Returns a copy of the shape. */
  public long[] shape() {
    return shape.clone();
  }

  /** Returns where bits and scales are. */
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
   * Returns the scale that the last quantisation multiplied by, one float32 number on {@link
   * #device()}. A view of this object's memory: an update changes it.
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
   * Returns what the bits are multiplied by to get the values back: one float32 number or, with
   * {@link Fp8Recipe#MXFP8}, {@code [.., ceil(columns / 32)]} numbers in {@link DType#FLOAT8_E8M0},
   * on {@link #device()}. A view of this object's memory: an update changes it.
   *
   * @throws IllegalStateException if the parameter is closed
   */
  public TensorView scaleInv() {
    guard.checkOpen();
    return storage.scaleInv();
  }

  /**
   * Returns the amax of the last quantisation, one float32 number on {@link #device()}: that of the
   * data, or the reduced one that was passed. A view of this object's memory: an update changes it.
   * With {@link Fp8Recipe#DELAYED} the next update takes it into the history from here, so that the
   * amaxes of several processes may be reduced in this place.
   *
   * @throws IllegalStateException if the parameter is closed
   * @throws UnsupportedOperationException with {@link Fp8Recipe#MXFP8}, which has an amax for each
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

  /** Writes the values to a tensor. As {@link #dequantize(TensorView, CudaStream)}. */
  public void dequantize(TensorView target) {
    dequantize(target, null);
  }

  /**
   * Writes the values, {@code rd(q * scaleInv)}, to a tensor, the product in float32.
   *
   * @param target float32, bfloat16 or float16, in the parameter's shape, on its device
   * @param stream of the parameter's device; null for its default stream, and on the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, shape or
   *     device, or the target overlaps the parameter's memory, kept initial value and dequantised
   *     copies included, or those of another
   * @throws IllegalStateException if the parameter is closed or being changed
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  public void dequantize(TensorView target, @Nullable CudaStream stream) {
    guard.acquire();
    try {
      requireTarget(target);
      CudaStream used = requireStream(device(), stream, defaultStream);
      Uses uses = Uses.begin(target, "target", null, "", used);
      try {
        storage.dequantize(target, used);
      } finally {
        uses.end();
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
   * Returns the values in another dtype, in memory of this object's: made by the first call for a
   * dtype, refreshed by every update in the update's stream, kept until the parameter is moved or
   * closed. This is what norms read that have the parameter as their weight.
   *
   * @param dtype float32, bfloat16 or float16
   * @param stream of the parameter's device, in which a copy that is not there yet is made; null
   *     for its default stream, and on the CPU
   * @throws IllegalArgumentException if the dtype is another one, or the stream is closed or of
   *     another device
   * @throws IllegalStateException if the parameter is closed or being changed
   * @throws OutOfMemoryError if there is not as much memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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

  /** The copy in a dtype, by a user of this object. */
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
      Uses uses = Uses.begin(null, "", null, "", stream);
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
        uses.end();
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
   * Returns the float32 values in new memory on the parameter's device, to be closed by the caller:
   * from the initial value where that is kept and there has been no update since, which made it a
   * thing of the past; otherwise from the bits. The result says which. Waits for the stream.
   *
   * @param stream of the parameter's device; null for its default stream, and on the CPU
   * @throws IllegalArgumentException if the stream is closed or of another device
   * @throws IllegalStateException if the parameter is closed or being changed
   * @throws OutOfMemoryError if there is not as much memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  public MasterWeights masterWeights(@Nullable CudaStream stream) {
    guard.acquire();
    try {
      CudaStream used = requireStream(device(), stream, defaultStream);
      Uses uses = Uses.begin(null, "", null, "", used);
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
          KeptValue.release(kept);
        }
        uses.end();
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
   * Quantises new values in place of the old ones, by the same recipe, and refreshes the
   * dequantised copies. Allocates no native memory. An initial value that is kept stays as it is.
   *
   * @param master float32, bfloat16 or float16, in the parameter's shape, on its device
   * @param reducedAmax one float32 number, on the parameter's device, to be taken as the amax in
   *     place of the values' own; null for that. With NaN or a negative number, which are not
   *     looked for, the scale is 1; a history leaves NaN out and takes magnitudes. Only with {@link
   *     Fp8Recipe#CURRENT} and {@link Fp8Recipe#DELAYED}
   * @param stream of the parameter's device; null for its default stream, and on the CPU
   * @throws IllegalArgumentException if an argument is null, closed, of a wrong dtype, shape or
   *     device, or overlaps the parameter's memory
   * @throws IllegalStateException if the parameter is closed or in use by another call
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  public void update(
      TensorView master, @Nullable TensorView reducedAmax, @Nullable CudaStream stream) {
    guard.acquireExclusive();
    try {
      requireLike("master", master);
      requireApartFromCopies("master", master);
      requireReduced(reducedAmax, spec, device());
      CudaStream used = requireStream(device(), stream, defaultStream);
      Uses uses = Uses.begin(master, "master", reducedAmax, "reducedAmax", used);
      try {
        isUpdated = true;
        storage.quantize(master, reducedAmax, used);
        for (Copy copy : copies) {
          if (copy != null) {
            storage.dequantize(copy.view, used);
          }
        }
      } finally {
        uses.end();
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
   * Moves bits and scales to another device, bit for bit, with the history of delayed scaling. An
   * initial value that is kept stays kept, in host memory, which becomes page-locked by a move to a
   * CUDA device. Views from before are refused from then on: ask for new ones. Dequantised copies
   * are made again when next asked for. Does nothing if the parameter is there already. Waits for
   * the stream.
   *
   * @param stream of the CUDA device that the parameter is on or, if it is on the CPU, of the one
   *     that it moves to; null for the default stream
   * @return this
   * @throws IllegalArgumentException if the device is null, or a CUDA device that there is not, or
   *     the stream is closed or of another device
   * @throws IllegalStateException if the parameter is closed or in use by another call
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws OutOfMemoryError if there is not as much memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  public Fp8Parameter to(Device device, @Nullable CudaStream stream) {
    checkArgument(device != null, "device: null; expected where the bits are to be");
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
      Uses uses = Uses.begin(null, "", null, "", used);
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
        uses.end();
      }
      return this;
    } finally {
      guard.release();
    }
  }

  /** Returns whether the values that this was quantised from are still there. */
  public boolean hasInitialValue() {
    return initialValue.isKept();
  }

  /**
   * Returns the values that this was quantised from, bit for bit, contiguous, in the source's dtype
   * and shape, in host memory. To be read only: any number of times, by any number of threads.
   *
   * <p>The view does not keep them: once they have been cleared, a call on it is refused as on a
   * closed {@link NativeBuffer}. Copies from it that wait in a CUDA stream must be done by then.
   *
   * @throws IllegalStateException if the parameter is closed, or the values are not there, with the
   *     reason: not kept, cleared, or kept until the first forward
   */
  public TensorView initialValue() {
    guard.checkOpen();
    return initialValue.view();
  }

  /**
   * Frees the memory of the initial value. Does nothing if that has been done, or nothing was kept.
   *
   * <p>New calls on it are refused at once; those that are working on it are waited for, so that
   * the memory has been given back on return.
   *
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  public void clearInitialValue() {
    initialValue.clear("it has been cleared");
  }

  /**
   * Says that the parameter has been used: clears the initial value if that is kept until the first
   * forward, as {@link #clearInitialValue()} does, and does nothing otherwise. Norms call this when
   * a forward or inference with the parameter as weight has succeeded, on a CUDA device when it is
   * in the stream; for other operations the caller does.
   *
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  public void markForward() {
    initialValue.markForward();
  }

  /**
   * Frees all memory. Does nothing if that has been done, or another thread is at it. On a CUDA
   * device it first waits until the device has done its work; readers of the initial value are
   * waited for, too.
   *
   * @throws IllegalStateException if a call that does not close it is using the parameter, or any
   *     call views of its memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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
   * Begins a forward with this as the weight, to be ended by {@link #endForward}: the values in a
   * norm's weight dtype.
   */
  TensorView beginForward(DType dtype, @Nullable CudaStream stream) {
    if (!guard.tryAcquire()) {
      throw new IllegalArgumentException(
          guard.isOpen()
              ? "weight: is being changed by another call; expected an " + NAME + " at rest"
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

  /** Begins the only use of all device memory; of none if a view of some is in use. */
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
        "reducedAmax: given with %s; expected none, as no scale is made of it",
        spec.recipe());
    requireNumber("reducedAmax", reducedAmax, expected);
  }

  /** Checks a tensor that values are taken from or written to. */
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
    requireApart(argument, view.overlaps(own.address(), own.bytes()));
  }

  /** Checks a tensor that values are written to: unlike a source, it must not be initial values. */
  private void requireTarget(@Nullable TensorView target) {
    requireLike("target", target);
    requireApart("target", initialValue.overlaps(target));
    requireApartFromCopies("target", target);
    target.requireWritable("target");
  }

  private void requireApartFromCopies(String argument, TensorView view) {
    for (Copy copy : copies) {
      requireApart(argument, copy != null && view.overlaps(copy.view));
    }
  }

  private static void requireApart(String argument, boolean overlaps) {
    checkArgument(
        !overlaps,
        "%s: overlaps the memory of this Fp8Parameter; expected memory of its own",
        argument);
  }

  /** The tensors and the stream of a call, in use until its end. */
  private record Uses(
      @Nullable TensorView first,
      boolean firstHeld,
      @Nullable TensorView second,
      boolean secondHeld,
      @Nullable CudaStream stream) {
    static Uses begin(
        @Nullable TensorView first,
        String firstName,
        @Nullable TensorView second,
        String secondName,
        @Nullable CudaStream stream) {
      boolean firstHeld = first != null && first.acquire(firstName);
      boolean secondHeld = false;
      boolean done = false;
      try {
        secondHeld = second != null && second.acquire(secondName);
        if (stream != null) {
          stream.acquire();
        }
        done = true;
        return new Uses(first, firstHeld, second, secondHeld, stream);
      } finally {
        if (!done) {
          release(first, firstHeld);
          release(second, secondHeld);
        }
      }
    }

    void end() {
      release(first, firstHeld);
      release(second, secondHeld);
      if (stream != null) {
        stream.release();
      }
    }

    private static void release(@Nullable TensorView view, boolean held) {
      if (view != null) {
        view.release(held);
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
