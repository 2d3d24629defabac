package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Reference;
import org.normcore.internal.CudaCapi;

/**
 * A block of a CUDA device's memory, aligned to 256 bytes, for callers that have none of their own.
 *
 * <p>The memory is not cleared; {@link #zero(CudaStream)} does that. The host can't read or write
 * it: {@link TensorView#copyFrom(TensorView, CudaStream)} copies to and from views of it.
 *
 * <p>{@link #close()} waits until the device has done all of its work, so memory that queued work
 * uses may be closed; so does the collector, which may free the memory once nothing in Java refers
 * to it. As closing holds up the whole device, and as neither allocating nor closing can be
 * captured into a CUDA graph, a training loop allocates before it begins. Do not leave memory to
 * the collector where graphs are captured in CUDA's global mode, in which freeing by any thread
 * ends the capture; in its thread-local mode it does not. Safe to share among threads; the streams
 * order what is done with the contents.
 */
public final class CudaBuffer extends OwnedMemory {
  private CudaBuffer(Device device, long address, long bytes) {
    super("CudaBuffer", device, address, bytes, new Free(device.index(), address));
  }

  private static CudaBuffer ofBytes(Device device, long bytes) {
    Cuda.requireDevice("device", device);
    return new CudaBuffer(device, CudaCapi.allocate(device.index(), Math.max(1, bytes)), bytes);
  }

  /**
   * Allocates a block.
   *
   * @throws IllegalArgumentException if the device is not a CUDA device that there is, or {@code
   *     bytes} is negative
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws OutOfMemoryError if the device does not have as much memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static CudaBuffer allocate(Device device, long bytes) {
    checkArgument(bytes >= 0, "bytes: %s; expected at least 0", bytes);
    return ofBytes(device, bytes);
  }

  /**
   * Allocates a block for a contiguous tensor.
   *
   * @throws IllegalArgumentException if the device is not a CUDA device that there is, a dimension
   *     is negative or the size is beyond 2^63 - 1 bytes
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws OutOfMemoryError if the device does not have as much memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static CudaBuffer allocate(Device device, DType dtype, long... shape) {
    return ofBytes(device, TensorView.elementsOf(dtype, shape) * dtype.bytes());
  }

  /**
   * Sets all bytes to 0, for instance before gradients are accumulated, when the stream comes to
   * it.
   *
   * @param stream a stream of this device
   * @return this
   * @throws IllegalArgumentException if the stream is null, closed or of another device
   * @throws IllegalStateException if the buffer is closed
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  public CudaBuffer zero(CudaStream stream) {
    CudaStream.requireOf(device(), stream);
    guard().acquire();
    try {
      stream.acquire();
      try {
        if (bytes() > 0) {
          CudaCapi.zero(device().index(), address(), bytes(), stream.handle());
        }
      } finally {
        stream.release();
      }
    } finally {
      guard().release();
      Reference.reachabilityFence(this);
    }
    return this;
  }

  private record Free(int device, long address) implements Runnable {
    @Override
    public void run() {
      CudaCapi.free(device, address);
    }
  }
}
