package org.normcore;

import java.lang.ref.Cleaner;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CudaCapi;
import org.normcore.internal.Memory;
import org.normcore.internal.UseGuard;

/**
 * A queue of work on a CUDA device. What is put into one stream is done in that order; different
 * streams are not ordered, unless the caller does that by CUDA's events.
 *
 * <p>Calls that take a stream return as soon as their work is queued: results may be read, and
 * memory that is not this library's may be freed, after {@link #synchronize()} or whatever else
 * tells the caller that the stream has come that far. Errors in the work itself are reported by
 * {@code synchronize()} or by any later call.
 *
 * <p>Streams of other libraries are used as they are: {@link #of} takes the pointer of the JavaCPP
 * CUDA presets, {@link #ofAddress} the bare {@code cudaStream_t}. They stay theirs: {@link
 * #close()} does nothing then, and they must live until the last call that was given one has
 * returned. A stream made by {@link #create} is destroyed by {@link #close()}, or some time after
 * it has become unreachable; CUDA still does what is queued in it.
 *
 * <p>Immutable, but for being closed, and safe to share among threads.
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
   * Returns the device's default stream, which CUDA gives the address 0. Calls that are given no
   * stream use it.
   *
   * @throws IllegalArgumentException if the device is not a CUDA device
   */
  public static CudaStream ofDefault(Device device) {
    return ofAddress(device, 0);
  }

  /**
   * Returns the stream of a pointer of the JavaCPP CUDA presets, {@code CUstream_st}. The pointer
   * is the stream's own address, as {@code cudaStreamCreate} sets it; a pointer that holds null is
   * the default stream. It is kept reachable.
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
   * Returns the stream with the given address, a {@code cudaStream_t}; 0 is the default stream.
   *
   * @param device the device that the stream was made for
   * @throws IllegalArgumentException if the device is not a CUDA device
   */
  public static CudaStream ofAddress(Device device, long address) {
    Cuda.requireCuda("device", device);
    return new CudaStream(device, address, null, false);
  }

  /**
   * Makes a new stream, to be closed by the caller. It does not wait for the device's default
   * stream, nor does that wait for it.
   *
   * @throws IllegalArgumentException if the device is not a CUDA device that there is
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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

  /** Returns whether it has not been closed. Streams of other libraries are always open. */
  public boolean isOpen() {
    return guard.isOpen();
  }

  /**
   * Waits until everything that has been put into the stream is done. Not while it is being
   * captured into a CUDA graph.
   *
   * @throws IllegalStateException if the stream is closed
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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
   * Destroys a stream made by {@link #create}. Does nothing if that has been done, or if the stream
   * is another library's. What has been put into it is still done.
   *
   * @throws IllegalStateException if a call is using it
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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

  /** The address, for whoever has acquired the stream. */
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
