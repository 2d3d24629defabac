package org.normcore;

import org.normcore.internal.DLPackCapi;

/**
 * A tensor of another library, taken over by {@link DLPack#importTensor} or {@link
 * DLPack#importVersioned}: its memory stays where it is, and is the other library's until this is
 * closed.
 *
 * <p>{@link #close()} calls the deleter that came with it, once, in the calling thread; should that
 * be forgotten, it is called some time after this object and all views of it have become
 * unreachable, in a thread of this library. {@code close()} is refused while a call works on the
 * memory; calls on a view of it are refused from then on. On a CUDA device nothing waits for what
 * is queued: close it when the stream has come that far.
 *
 * <p>Immutable but for being closed, and safe to share among threads.
 */
public final class DLPackTensor extends OwnedMemory {
  private final TensorView tensor;

  /** Takes over what a deleter is there for; {@code address} is that of the first element. */
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
      makeReadOnly("a read-only DLPack tensor");
    }
    this.tensor = TensorView.ofMemory(this, address, bytes, dtype, shape).withRowStride(rowStride);
  }

  /**
   * Returns the tensor, with the dtype, device, shape and row stride that it came with.
   *
   * @throws IllegalStateException if this is closed
   */
  public TensorView tensor() {
    guard().checkOpen();
    return tensor;
  }

  /** Returns whether it came marked as read-only: calls that would write to it are refused. */
  public boolean isReadOnly() {
    return readOnly() != null;
  }

  /** Calls the deleter at an address, unless that is 0. */
  record Delete(long deleter, long managed) implements Runnable {
    @Override
    public void run() {
      DLPack.forget(managed);
      if (deleter != 0) {
        DLPackCapi.call(deleter, managed);
      }
    }
  }
}
