package org.normcore.internal;

import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * The idle frames of one norm. A call takes a frame and puts it back, so nothing is allocated once
 * the pool holds as many contexts as there are concurrent calls.
 */
public final class CallContextPool {
  /** The pool's capacity; beyond this many concurrent calls, a call allocates a new frame. */
  private static final int SLOTS = 64;

  /**
   * The bytes of work that justify a thread. Waking a parked thread costs its waker about 10 us,
   * and the thread starts 10 to 30 us later, so two threads break even at about 50 us of work.
   * Measured on two cores of a virtual machine with float32 in the cache, 1 thread against 2: at
   * 1.5 MB 52 us against 42 to 75, at 2 MB 83 to 95 against 67 to 97, at 4 MB 150 against 89 to
   * 144, depending on how long the second thread had been idle.
   */
  private static final long BYTES_PER_THREAD = 1 << 20;

  /**
   * The minimum bytes of a range: about 5 us of work, far more than it takes to claim it and to
   * call native code. Threads finish within about that time of each other.
   */
  private static final long BYTES_PER_RANGE = 128 << 10;

  /** A range is half of the remaining units per thread, rounded down to a power of two. */
  private static final long RANGES_PER_THREAD = 16;

  private final int threads;
  private final Executor executor;
  private final AtomicReferenceArray<CallContext> idle = new AtomicReferenceArray<>(SLOTS);

  /**
   * Makes the pool of a norm whose calls run in up to {@code threads} threads, including the
   * caller.
   */
  public CallContextPool(int threads, Executor executor) {
    this.threads = threads;
    this.executor = executor;
  }

  int threads() {
    return threads;
  }

  Executor executor() {
    return executor;
  }

  /** Returns the number of threads, including the caller, for a call that moves this many bytes. */
  public int threadsFor(long bytes) {
    return (int) Math.max(1, Math.min(threads, bytes / BYTES_PER_THREAD));
  }

  /** Returns the minimum units of a range, for a call of {@code units} that moves {@code bytes}. */
  static long grain(long units, long bytes) {
    return Math.max(1, units / Math.max(1, bytes / BYTES_PER_RANGE));
  }

  /**
   * Returns approximately the maximum number of ranges of a parallel call of {@code units} units.
   */
  public long mostRanges(long units) {
    return Math.min(units, RANGES_PER_THREAD * threads);
  }

  /** Takes a frame; the caller returns it with {@link CallContext#release}. */
  public CallContext take() {
    for (int i = 0; i < SLOTS; i++) {
      if (idle.getPlain(i) != null) {
        CallContext context = idle.getAndSet(i, null);
        if (context != null) {
          return context;
        }
      }
    }
    return new CallContext(this);
  }

  void put(CallContext context) {
    for (int i = 0; i < SLOTS; i++) {
      if (idle.getPlain(i) == null && idle.compareAndSet(i, null, context)) {
        return;
      }
    }
  }
}
