package org.normcore;

import java.lang.ref.Cleaner;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CudaCapi;
import org.normcore.internal.Memory;
import org.normcore.internal.UseGuard;

/**
 * A queue of work on a CUDA device. Work in one stream runs in order. Different streams are not
 * ordered, unless the caller orders them with CUDA events.
 *
 * <p>Calls that take a stream return as soon as their work is queued. Read results, and free memory
 * that this library does not own, only after {@link #synchronize()} or another synchronisation with
 * the stream. {@code synchronize()} or any later call reports errors in the work itself.
 *
 * <p>Streams of other libraries can be wrapped: {@link #of} takes a pointer of the JavaCPP CUDA
 * presets, {@link #ofAddress} a raw {@code cudaStream_t}. A wrapper does not own the stream: {@link
 * #close()} does nothing, and the stream must live until the last call that uses it has returned. A
 * stream made by {@link #create} is destroyed by {@link #close()}, or by the garbage collector
 * after it has become unreachable; CUDA still completes the queued work.
 *
 * <p>Immutable except for {@code close()}; thread-safe.
 */
public final class CudaStream implements AutoCloseable {
  private static final String NAME = "CudaStream";

  private final Device device;
  private final long handle;
  private final @Nullable Object owner;
  private final UseGuard guard = new UseGuard(NAME);
  private final Cleaner.@Nullable Cleanable cleanable;

  private CudaStream(Device device, long handle, @Nullable Object owner, boolean owned) {
    this.device = device;
    this.handle = handle;
    this.owner = owner;
    this.cleanable =
        owned ? Memory.CLEANER.register(this, new Destroy(device.index(), handle)) : null;
  }

  /**
   * Returns the device's default stream, whose address is 0. Calls without a stream use it.
   *
   * @throws IllegalArgumentException if the device is not a CUDA device
   */
  public static CudaStream ofDefault(Device device) {
    return ofAddress(device, 0);
  }

  /**
   * Wraps a {@code CUstream_st} pointer of the JavaCPP CUDA presets. The pointer's address is the
   * stream, as {@code cudaStreamCreate} sets it; a pointer that holds null is the default stream.
   * The wrapper keeps the pointer reachable.
   *
   * @param device the device that the stream was made for
   * @throws IllegalArgumentException if the device is not a CUDA device, or the pointer is null
   */
  public static CudaStream of(Device device, Pointer stream) {
    Cuda.requireCuda("device", device);
    if (stream == null) {
      throw new IllegalArgumentException(
          "stream: null; expected a CUstream_st, or CudaStream.ofDefault for the default stream");
    }
    return new CudaStream(device, stream.address(), stream, false);
  }

  /**
   * Wraps the stream with the given address, a {@code cudaStream_t}; 0 is the default stream.
   *
   * @param device the device that the stream was made for
   * @throws IllegalArgumentException if the device is not a CUDA device
   */
  public static CudaStream ofAddress(Device device, long address) {
    Cuda.requireCuda("device", device);
    return new CudaStream(device, address, null, false);
  }

  /**
   * Creates a stream, which the caller must close. It does not synchronise with the device's
   * default stream.
   *
   * @throws IllegalArgumentException if the device is not an existing CUDA device
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static CudaStream create(Device device) {
    Cuda.requireDevice("device", device);
    return new CudaStream(device, CudaCapi.createStream(device.index()), null, true);
  }

  /** Returns the stream's device. */
  public Device device() {
    return device;
  }

  /**
   * Returns the address, a {@code cudaStream_t}; 0 for the default stream.
   *
   * @throws IllegalStateException if the stream is closed
   */
  public long address() {
    guard.checkOpen();
    return handle;
  }

  /** Returns whether the stream is open. Streams of other libraries are always open. */
  public boolean isOpen() {
    return guard.isOpen();
  }

  /**
   * Waits until all queued work is complete. Not allowed while the stream is being captured into a
   * CUDA graph.
   *
   * @throws IllegalStateException if the stream is closed
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public void synchronize() {
    guard.acquire();
    try {
      CudaCapi.synchronizeStream(device.index(), handle);
    } finally {
      guard.release();
    }
  }

  /**
   * Destroys a stream made by {@link #create}. Does nothing if it is already closed, or belongs to
   * another library. CUDA still completes the queued work.
   *
   * @throws IllegalStateException if a call is using it
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  @Override
  public void close() {
    if (cleanable != null && guard.close()) {
      cleanable.clean();
    }
  }

  /** Returns, for example, {@code CudaStream(0x7f0012345680 on cuda:0)}. */
  @Override
  public String toString() {
    return NAME
        + (handle == 0 ? "(default" : "(0x" + Long.toHexString(handle))
        + " on "
        + device
        + (guard.isOpen() ? ")" : ", closed)");
  }

  /** Checks that an argument is a stream of a device. */
  static void requireOf(Device device, @Nullable CudaStream stream) {
    if (stream == null) {
      throw new IllegalArgumentException("stream: null; expected a CudaStream of " + device);
    }
    if (!stream.device.equals(device)) {
      throw new IllegalArgumentException(
          "stream: " + stream + "; expected one of " + device + ", where the memory is");
    }
  }

  /** The address. The caller must have acquired the stream. */
  long handle() {
    return handle;
  }

  /** Begins a use of the stream as an argument, to be ended by {@link #release()}. */
  void acquire() {
    if (!guard.tryAcquire()) {
      throw new IllegalArgumentException("stream: is closed; expected an open CudaStream");
    }
  }

  void release() {
    guard.release();
  }

  private record Destroy(int device, long handle) implements Runnable {
    @Override
    public void run() {
      CudaCapi.destroyStream(device, handle);
    }
  }
}
