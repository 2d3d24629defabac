package org.normcore;

import org.jspecify.annotations.Nullable;
import org.normcore.internal.CudaCapi;
import org.normcore.internal.Memory;

/**
 * Holds the initial value of an FP8 parameter. Any number of threads may read it while another
 * clears it: the first clear rejects further uses, waits for those in progress, and frees the
 * memory.
 */
final class InitialValueHolder {
  private static final String HINT =
      "; expected one that is kept, see InitialValue and Fp8Spec.initialValue";

  private record Kept(InitialValueMemory memory, TensorView view, boolean isPageLocked) {}

  private final InitialValue mode;
  private volatile @Nullable Kept kept;

  /**
   * The reason why the value is gone; null while it is kept. Set once, before the memory is freed.
   */
  private volatile @Nullable String absence;

  /** Copies a tensor's bits, if the mode keeps them. A copy in a stream is complete on return. */
  InitialValueHolder(
      InitialValue mode, TensorView source, boolean pageLocked, @Nullable CudaStream stream) {
    this.mode = mode;
    if (mode == InitialValue.DISCARD) {
      this.absence = "it was not kept, because the spec has InitialValue.DISCARD";
      return;
    }
    DType dtype = source.dtype();
    InitialValueMemory memory =
        InitialValueMemory.allocate(source.elements() * dtype.bytes(), pageLocked);
    boolean done = false;
    try {
      long rowBytes = source.rank() == 0 ? dtype.bytes() : source.size(-1) * dtype.bytes();
      long strideBytes = source.rowStride() * dtype.bytes();
      boolean whole = source.isContiguous();
      long run = whole ? memory.bytes() : rowBytes;
      for (long at = 0, row = 0; at < memory.bytes(); at += run, row++) {
        long from = source.address() + row * strideBytes;
        if (source.device().isCpu()) {
          Memory.copy(memory.address() + at, from, run);
        } else {
          CudaCapi.copy(source.device().index(), memory.address() + at, from, run, stream.handle());
        }
      }
      if (!source.device().isCpu()) {
        stream.synchronize();
      }
      this.kept = new Kept(memory, memory.view(dtype, source.shape()), pageLocked);
      done = true;
    } finally {
      if (!done) {
        memory.close();
      }
    }
  }

  boolean isKept() {
    return absence == null;
  }

  /** The value. Throws IllegalStateException with the reason if it is gone. */
  TensorView view() {
    Kept present = kept;
    String reason = absence;
    if (reason != null || present == null) {
      throw new IllegalStateException("initialValue: " + reason + HINT);
    }
    return present.view;
  }

  /** Whether a tensor overlaps the memory of the value. */
  boolean overlaps(TensorView tensor) {
    Kept present = kept;
    return present != null && tensor.overlaps(present.view);
  }

  /** Acquires the value until {@link #release}; null if it is gone. */
  @Nullable TensorView tryAcquire() {
    Kept present = kept;
    return present != null && present.memory.guard().tryAcquire() ? present.view : null;
  }

  static void release(TensorView acquired) {
    acquired.release(true);
  }

  /** Frees the memory. The first reason given is kept. */
  void clear(String reason) {
    if (kept == null) {
      return;
    }
    synchronized (this) {
      Kept present = kept;
      if (present != null) {
        absence = reason;
        present.memory.closeWhenUnused();
        kept = null;
      }
    }
  }

  void markForward() {
    if (mode == InitialValue.KEEP_UNTIL_FIRST_FORWARD) {
      clear("it was kept until the first forward, which has run");
    }
  }

  /** Moves the value to page-locked memory if it is not there yet. */
  synchronized void lockPages() {
    Kept present = kept;
    if (present == null || present.isPageLocked) {
      return;
    }
    InitialValueMemory locked = InitialValueMemory.allocate(present.memory.bytes(), true);
    Memory.copy(locked.address(), present.memory.address(), present.memory.bytes());
    TensorView view = present.view;
    kept = new Kept(locked, locked.view(view.dtype(), view.shape()), true);
    present.memory.closeWhenUnused();
  }
}
