package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Cleaner;
import java.nio.ByteBuffer;
import org.normcore.internal.Capi;
import org.normcore.internal.Memory;
import org.normcore.internal.UseGuard;

/**
 * A block of host memory, aligned to 64 bytes, for callers that have none of their own.
 *
 * <p>The memory is outside the Java heap and is not cleared; {@link #zero()} does that. It is freed
 * by {@link #close()}, or, should that be forgotten, some time after the buffer and all views of it
 * have become unreachable. Safe to share among threads, as far as the contents go to what the
 * threads do with them.
 *
 * <p>{@code close()} is refused while an operation works on the memory; operations on a view of a
 * closed buffer are refused.
 */
public final class NativeBuffer implements AutoCloseable {
  private static final String NAME = "NativeBuffer";

  private final UseGuard guard = new UseGuard(NAME);
  private final long address;
  private final long bytes;
  private final Cleaner.Cleanable cleanable;

  private NativeBuffer(long bytes) {
    this.bytes = bytes;
    this.address = Capi.allocate(Math.max(1, bytes));
    this.cleanable = Memory.CLEANER.register(this, new Free(address));
  }

  /**
   * Allocates a block.
   *
   * @throws IllegalArgumentException if {@code bytes} is negative
   * @throws OutOfMemoryError if there is not as much memory
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static NativeBuffer allocate(long bytes) {
    checkArgument(bytes >= 0, "bytes: %s; expected at least 0", bytes);
    return new NativeBuffer(bytes);
  }

  /**
   * Allocates a block for a contiguous tensor.
   *
   * @throws IllegalArgumentException if a dimension is negative or the size is beyond 2^63 - 1
   *     bytes
   * @throws OutOfMemoryError if there is not as much memory
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static NativeBuffer allocate(DType dtype, long... shape) {
    return new NativeBuffer(TensorView.elementsOf(dtype, shape) * dtype.bytes());
  }

  /**
   * Returns the address of the first byte.
   *
   * @throws IllegalStateException if the buffer is closed
   */
  public long address() {
    guard.checkOpen();
    return address;
  }

  /** Returns the size in bytes. */
  public long bytes() {
    return bytes;
  }

  /** Returns whether {@link #close()} has not been called yet. */
  public boolean isOpen() {
    return guard.isOpen();
  }

  /**
   * Returns a contiguous tensor at the start of the block.
   *
   * @throws IllegalArgumentException if the block is too small for it
   * @throws IllegalStateException if the buffer is closed
   */
  public TensorView view(DType dtype, long... shape) {
    return view(0, dtype, shape);
  }

  /**
   * Returns a contiguous tensor that starts {@code offset} bytes into the block. Any alignment will
   * do.
   *
   * @throws IllegalArgumentException if the offset is negative or the rest of the block is too
   *     small
   * @throws IllegalStateException if the buffer is closed
   */
  public TensorView view(long offset, DType dtype, long... shape) {
    guard.checkOpen();
    checkArgument(
        offset >= 0 && offset <= bytes,
        "offset: %s; expected 0 to %s, the buffer's size in bytes",
        offset,
        bytes);
    return TensorView.ofBuffer(this, address + offset, bytes - offset, dtype, shape);
  }

  /**
   * Returns the memory as a direct byte buffer in native byte order. It must not be used after
   * {@link #close()}: that is not checked. While it is reachable, the memory is not freed by the
   * collector.
   *
   * @throws IllegalArgumentException if the block is larger than a byte buffer can be
   * @throws IllegalStateException if the buffer is closed
   */
  public ByteBuffer asByteBuffer() {
    guard.checkOpen();
    checkArgument(
        bytes <= Integer.MAX_VALUE,
        "bytes: %s; a ByteBuffer holds at most %s",
        bytes,
        Integer.MAX_VALUE);
    ByteBuffer buffer = Memory.byteBuffer(address, bytes);
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
    guard.acquire();
    try {
      Memory.zero(address, bytes);
    } finally {
      guard.release();
    }
    return this;
  }

  /**
   * Frees the memory. Does nothing if that has been done.
   *
   * @throws IllegalStateException if an operation is working on the memory
   */
  @Override
  public void close() {
    if (guard.close()) {
      cleanable.clean();
    }
  }

  UseGuard guard() {
    return guard;
  }

  /** Returns, for example, {@code NativeBuffer(1024 bytes at 0x7f0012345680)}. */
  @Override
  public String toString() {
    return NAME
        + "("
        + bytes
        + " bytes at 0x"
        + Long.toHexString(address)
        + (guard.isOpen() ? ")" : ", closed)");
  }

  private record Free(long address) implements Runnable {
    @Override
    public void run() {
      Capi.free(address);
    }
  }
}
