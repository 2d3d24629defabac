package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Cleaner;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.Memory;
import org.normcore.internal.UseGuard;

/**
 * A block of memory that belongs to an object: {@link NativeBuffer} on the host, {@link CudaBuffer}
 * on a CUDA device, {@link DLPackTensor} where another library left it.
 *
 * <p>It is freed by {@link #close()}, or, should that be forgotten, some time after the object and
 * all views of it have become unreachable. {@code close()} is refused while a call works on the
 * memory; calls on a view of closed memory are refused.
 */
public abstract sealed class OwnedMemory implements AutoCloseable
    permits NativeBuffer, CudaBuffer, KeptMemory, DLPackTensor {
  private final String name;
  private final UseGuard guard;
  private final Device device;
  private final long address;
  private final long bytes;
  private final Cleaner.Cleanable cleanable;
  private volatile @Nullable String readOnly;

  /** Takes over memory; {@code free} must not refer to this object. */
  OwnedMemory(String name, Device device, long address, long bytes, Runnable free) {
    this.name = name;
    this.guard = new UseGuard(name);
    this.device = device;
    this.address = address;
    this.bytes = bytes;
    this.cleanable = Memory.CLEANER.register(this, free);
  }

  /**
   * Returns the address of the first byte.
   *
   * @throws IllegalStateException if the memory is closed
   */
  public final long address() {
    guard.checkOpen();
    return address;
  }

  /** Returns the size in bytes. */
  public final long bytes() {
    return bytes;
  }

  /** Returns where the memory lies. */
  public final Device device() {
    return device;
  }

  /** Returns whether {@link #close()} has not been called yet. */
  public final boolean isOpen() {
    return guard.isOpen();
  }

  /**
   * Returns a contiguous tensor at the start of the block.
   *
   * @throws IllegalArgumentException if the block is too small for it
   * @throws IllegalStateException if the memory is closed
   */
  public final TensorView view(DType dtype, long... shape) {
    return view(0, dtype, shape);
  }

  /**
   * Returns a contiguous tensor that starts {@code offset} bytes into the block. Any alignment will
   * do.
   *
   * @throws IllegalArgumentException if the offset is negative or the rest of the block is too
   *     small
   * @throws IllegalStateException if the memory is closed
   */
  public final TensorView view(long offset, DType dtype, long... shape) {
    guard.checkOpen();
    checkArgument(
        offset >= 0 && offset <= bytes,
        "offset: %s; expected 0 to %s, the buffer's size in bytes",
        offset,
        bytes);
    return TensorView.ofMemory(this, address + offset, bytes - offset, dtype, shape);
  }

  /**
   * Frees the memory. Does nothing if that has been done. On a CUDA device it first waits until the
   * device has done its work.
   *
   * @throws IllegalStateException if a call is working on the memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  @Override
  public final void close() {
    if (guard.close()) {
      cleanable.clean();
    }
  }

  /** Frees the memory by whoever has the only use of it, which ends with that. */
  final void closeExclusive() {
    guard.closeExclusive();
    cleanable.clean();
  }

  /** Refuses every further use, waits until there is none, and frees the memory. */
  final void closeWhenUnused() {
    if (guard.closeWhenUnused()) {
      cleanable.clean();
    }
  }

  /**
   * Says that views of this are for reading: only the object that keeps it writes to it. Messages
   * call it by the given words.
   */
  final void makeReadOnly(String words) {
    readOnly = words;
  }

  /** What messages call this if it is for reading; otherwise null. */
  final @Nullable String readOnly() {
    return readOnly;
  }

  final UseGuard guard() {
    return guard;
  }

  final String name() {
    return name;
  }

  /** Returns, for example, {@code NativeBuffer(1024 bytes at 0x7f0012345680)}. */
  @Override
  public final String toString() {
    return name
        + "("
        + bytes
        + " bytes at 0x"
        + Long.toHexString(address)
        + (device.isCpu() ? "" : " on " + device)
        + (guard.isOpen() ? ")" : ", closed)");
  }
}
