package org.normcore;

import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;

/**
 * What a call uses, acquired one by one and released together: tensors, heads, memory and a stream.
 * Reused and does not allocate; not thread-safe.
 *
 * <p>While something is acquired, closing it throws, so the native side never sees freed memory.
 */
final class Leases {
  private static final int MOST_VIEWS = 12;

  private final @Nullable TensorView[] views = new @Nullable TensorView[MOST_VIEWS];
  private int count;
  private @Nullable OwnedMemory memory;
  private @Nullable CudaStream stream;

  /** Acquires a tensor that the call reads, if there is one. */
  void read(String name, @Nullable TensorView view) {
    if (view != null) {
      add(view, view.acquire(name));
    }
  }

  /** Acquires a tensor that the call writes, if there is one. */
  void write(String name, @Nullable TensorView view) {
    if (view != null) {
      add(view, view.acquireToWrite(name));
    }
  }

  /** Acquires heads that the call reads, if there are any. */
  void read(String name, @Nullable HeadsView heads) {
    read(name, heads == null ? null : heads.memory());
  }

  /** Acquires heads that the call writes, if there are any. */
  void write(String name, @Nullable HeadsView heads) {
    write(name, heads == null ? null : heads.memory());
  }

  private void add(TensorView view, boolean acquired) {
    if (acquired) {
      views[count++] = view;
    }
  }

  /** Acquires memory, if there is any. */
  void use(String name, @Nullable OwnedMemory memory) {
    if (memory != null) {
      if (!memory.guard().tryAcquire()) {
        throw new IllegalArgumentException(name + ": is closed; expected an open " + memory.name());
      }
      this.memory = memory;
    }
  }

  /** Acquires a stream, if there is one. */
  void use(@Nullable CudaStream stream) {
    if (stream != null) {
      stream.acquire();
      this.stream = stream;
    }
  }

  /** Releases everything. The caller keeps reachable what it passed until this returns. */
  void release() {
    while (count > 0) {
      TensorView view = views[--count];
      views[count] = null;
      if (view != null) {
        view.release(true);
      }
      Reference.reachabilityFence(view);
    }
    if (memory != null) {
      memory.guard().release();
      memory = null;
    }
    if (stream != null) {
      stream.release();
      stream = null;
    }
  }
}
