package org.normcore.internal;

import java.util.concurrent.Executor;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * The frames of one norm that no call is using. Calls take one and put it back, so that nothing is
 * allocated once there are as many frames as there ever were calls at once.
 */
public final class FramePool {
  /** Frames kept; with more calls than this at once, some make a new frame. */
  private static final int SLOTS = 64;

  /**
   * The least bytes that are worth a thread. To wake a parked thread takes its waker some 10 us,
   * and it starts 10 to 30 us later, so two threads that share 50 us of work just break even.
   * Measured on two cores of a virtual machine with float32 in the cache, 1 thread against 2: at
   * 1.5 MB 52 us against 42 to 75, at 2 MB 83 to 95 against 67 to 97, at 4 MB 150 against 89 to
   * 144, by how long the other had been idle.
   */
  private static final long BYTES_PER_THREAD = 1 << 20;

  /**
   * The least bytes to a range: some 5 us of work, against 0.3 us to claim it and to check its
   * arguments. Threads end about as long after each other.
   */
  private static final long BYTES_PER_RANGE = 128 << 10;

  /** A range is half of a thread's fair share of what is left, rounded down to a power of two. */
  private static final long RANGES_PER_THREAD = 16;

  private final int threads;
  private final Executor executor;
  private final AtomicReferenceArray<CallFrame> free = new AtomicReferenceArray<>(SLOTS);

  /** Makes the pool of a norm whose calls run in as many threads, the calling one among them. */
  public FramePool(int threads, Executor executor) {
    this.threads = threads;
    this.executor = executor;
  }

  int threads() {
    return threads;
  }

  Executor executor() {
    return executor;
  }

  /**
   * Returns how many threads a call that moves as many bytes is worth, the calling one included.
   */
  public int threadsFor(long bytes) {
    return (int) Math.max(1, Math.min(threads, bytes / BYTES_PER_THREAD));
  }

  /** Returns the least units to a range, of as many that move as many bytes. */
  static long grain(long units, long bytes) {
    return Math.max(1, units / Math.max(1, bytes / BYTES_PER_RANGE));
  }

  /** Returns about how many ranges at most a shared call of as many units is cut into. */
  public long mostRanges(long units) {
    return Math.min(units, RANGES_PER_THREAD * threads);
  }

  /** Takes a frame, to be handed back by {@link CallFrame#release}. */
  public CallFrame take() {
    for (int i = 0; i < SLOTS; i++) {
      if (free.getPlain(i) != null) {
        CallFrame frame = free.getAndSet(i, null);
        if (frame != null) {
          return frame;
        }
      }
    }
    return new CallFrame(this);
  }

  void put(CallFrame frame) {
    for (int i = 0; i < SLOTS; i++) {
      if (free.getPlain(i) == null && free.compareAndSet(i, null, frame)) {
        return;
      }
    }
  }
}
