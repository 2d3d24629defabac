package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.nio.ByteBuffer;
import org.normcore.internal.Capi;
import org.normcore.internal.Memory;

/**
 * A block of host memory, aligned to 64 bytes, for callers without an allocator.
 *
 * <p>The memory is outside the Java heap and is not initialised; {@link #zero()} clears it.
 * Thread-safe, but accesses to the contents are not synchronised.
 */
public final class NativeBuffer extends OwnedMemory {
  private NativeBuffer(long address, long bytes) {
    super("NativeBuffer", Device.CPU, address, bytes, new Free(address));
  }

  private static NativeBuffer ofBytes(long bytes) {
    return new NativeBuffer(Capi.allocate(Math.max(1, bytes)), bytes);
  }

  /**
   * Allocates a block.
   *
   * @throws IllegalArgumentException if {@code bytes} is negative
   * @throws OutOfMemoryError if memory is exhausted
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static NativeBuffer allocate(long bytes) {
    checkArgument(bytes >= 0, "bytes: %s; expected at least 0", bytes);
    return ofBytes(bytes);
  }

  /**
   * Allocates a block for a contiguous tensor.
   *
   * @throws IllegalArgumentException if a dimension is negative or the size is beyond 2^63 - 1
   *     bytes
   * @throws OutOfMemoryError if memory is exhausted
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static NativeBuffer allocate(DType dtype, long... shape) {
    return ofBytes(Shapes.elements(dtype, shape) * dtype.bytes());
  }

  /**
   * Returns the memory as a direct byte buffer in native byte order. It must not be used after
   * {@link #close()}, which is not checked. A reachable byte buffer keeps the memory from being
   * garbage-collected.
   *
   * @throws IllegalArgumentException if the block is larger than the maximum size of a byte buffer
   * @throws IllegalStateException if the buffer is closed
   */
  public ByteBuffer asByteBuffer() {
    long address = address();
    checkArgument(
        bytes() <= Integer.MAX_VALUE,
        "bytes: %s; a ByteBuffer holds at most %s",
        bytes(),
        Integer.MAX_VALUE);
    ByteBuffer buffer = Memory.byteBuffer(address, bytes());
    Memory.keepAlive(buffer, this);
    return buffer;
  }

  /**
   * Sets all bytes to 0, for instance before gradients are accumulated.
   *
   * @return this
   * @throws IllegalStateException if the buffer is closed
   */
  public NativeBuffer zero() {
    guard().acquire();
    try {
      Memory.zero(address(), bytes());
    } finally {
      guard().release();
    }
    return this;
  }

  private record Free(long address) implements Runnable {
    @Override
    public void run() {
      Capi.free(address);
    }
  }
}
