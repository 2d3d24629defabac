package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Cleaner;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.Memory;
import org.normcore.internal.UseGuard;

/**
 * A block of memory with an owner: {@link NativeBuffer} on the host, {@link CudaBuffer} on a CUDA
 * device, {@link DLPackTensor} for another library's tensor.
 *
 * <p>{@link #close()} frees it; otherwise the garbage collector does, after the object and all
 * views of it have become unreachable. {@code close()} throws while a call uses the memory. Calls
 * on a view of closed memory throw.
 */
public abstract sealed class OwnedMemory implements AutoCloseable
    permits NativeBuffer, CudaBuffer, InitialValueMemory, DLPackTensor {
  private final String name;
  private final UseGuard guard;
  private final Device device;
  private final long address;
  private final long bytes;
  private final Cleaner.Cleanable cleanable;
  private volatile @Nullable String readOnly;

  /** Takes ownership of memory; {@code free} must not refer to this object. */
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

  /** Returns the device of the memory. */
  public final Device device() {
    return device;
  }

  /** Returns whether the memory is open. */
  public final boolean isOpen() {
    return guard.isOpen();
  }

  /**
   * Returns a contiguous tensor at the start of the block.
   *
   * @throws IllegalArgumentException if the block is too small
   * @throws IllegalStateException if the memory is closed
   */
  public final TensorView view(DType dtype, long... shape) {
    return view(0, dtype, shape);
  }

  /**
   * Returns a contiguous tensor that starts {@code offset} bytes into the block. Any alignment is
   * allowed.
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
   * Frees the memory. A second call does nothing. On a CUDA device it first waits until the device
   * is idle.
   *
   * @throws IllegalStateException if a call uses the memory
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  @Override
  public final void close() {
    if (guard.close()) {
      cleanable.clean();
    }
  }

  /** Frees the memory. The caller holds exclusive use, which this releases. */
  final void closeExclusive() {
    guard.closeExclusive();
    cleanable.clean();
  }

  /** Rejects further uses, waits for those in progress, and frees the memory. */
  final void closeWhenUnused() {
    if (guard.closeWhenUnused()) {
      cleanable.clean();
    }
  }

  /**
   * Makes views of this read-only; only the owning object writes to it. Messages use the given
   * description.
   */
  final void makeReadOnly(String description) {
    readOnly = description;
  }

  /** The description for messages if this is read-only; otherwise null. */
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
