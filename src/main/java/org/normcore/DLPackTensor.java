package org.normcore;

import org.normcore.internal.DLPackCapi;

/**
 * A tensor of another library, imported by {@link DLPack#importTensor} or {@link
 * DLPack#importVersioned}. The memory is not copied; closing this object returns it to the other
 * library.
 *
 * <p>{@link #close()} calls the tensor's deleter, once, in the calling thread. Without a {@code
 * close()}, a thread of this library calls it after this object and all views of it have become
 * unreachable. {@code close()} throws while a call uses the memory; afterwards, calls on a view of
 * it throw. On a CUDA device nothing waits for queued work: synchronise the stream before closing.
 *
 * <p>Immutable except for {@code close()}; thread-safe.
 */
public final class DLPackTensor extends OwnedMemory {
  private final TensorView tensor;

  /** Takes ownership; {@code address} is that of the first element. */
  DLPackTensor(
      Device device,
      long address,
      long bytes,
      DType dtype,
      long[] shape,
      long rowStride,
      boolean readOnly,
      Runnable delete) {
    super("DLPackTensor", device, address, bytes, delete);
    if (readOnly) {
      makeReadOnly("an imported DLPack tensor");
    }
    this.tensor = TensorView.ofMemory(this, address, bytes, dtype, shape).withRowStride(rowStride);
  }

  /**
   * Returns the tensor, with the imported dtype, device, shape and row stride.
   *
   * @throws IllegalStateException if this is closed
   */
  public TensorView tensor() {
    guard().checkOpen();
    return tensor;
  }

  /** Returns whether the import is marked read-only: calls that would write to it throw. */
  public boolean isReadOnly() {
    return readOnly() != null;
  }

  /** Calls the deleter at an address, unless the address is 0. */
  record Delete(long deleter, long managed) implements Runnable {
    @Override
    public void run() {
      DLPack.unregister(managed);
      if (deleter != 0) {
        DLPackCapi.call(deleter, managed);
      }
    }
  }
}
