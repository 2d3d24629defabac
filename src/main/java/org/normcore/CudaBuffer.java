package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Reference;
import org.normcore.internal.CudaCapi;

/**
 * A block of CUDA device memory, aligned to 256 bytes, for callers without an allocator.
 *
 * <p>The memory is not initialised; {@link #zero(CudaStream)} clears it. The host can't access it:
 * {@link TensorView#copyFrom(TensorView, CudaStream)} copies to and from views of it.
 *
 * <p>{@link #close()} waits until the device is idle, so it is safe while queued work uses the
 * memory. The garbage collector frees an unreachable buffer in the same way. Closing stalls the
 * whole device, and neither allocating nor closing can be captured into a CUDA graph: allocate
 * before the training loop. Do not leave buffers to the collector while a graph is captured in
 * CUDA's global mode, in which a free by any thread ends the capture; the thread-local mode is not
 * affected. Thread-safe; streams order accesses to the contents.
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
   * @throws IllegalArgumentException if the device is not an existing CUDA device, or {@code bytes}
   *     is negative
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws OutOfMemoryError if the device runs out of memory
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static CudaBuffer allocate(Device device, long bytes) {
    checkArgument(bytes >= 0, "bytes: %s; expected at least 0", bytes);
    return ofBytes(device, bytes);
  }

  /**
   * Allocates a block for a contiguous tensor.
   *
   * @throws IllegalArgumentException if the device is not an existing CUDA device, a dimension is
   *     negative or the size is beyond 2^63 - 1 bytes
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws OutOfMemoryError if the device runs out of memory
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static CudaBuffer allocate(Device device, DType dtype, long... shape) {
    return ofBytes(device, Shapes.elements(dtype, shape) * dtype.bytes());
  }

  /**
   * Sets all bytes to 0 in stream order, for instance before gradients are accumulated.
   *
   * @param stream a stream of this device
   * @return this
   * @throws IllegalArgumentException if the stream is null, closed or of another device
   * @throws IllegalStateException if the buffer is closed
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
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
