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
   * The least bytes worth handing to another thread: some 10 us of work, against a few us to wake
   * it.
   */
  private static final long BYTES_PER_PART = 128 << 10;

  /**
   * Ranges per thread, so that a thread that comes late or is held up leaves its share to the
   * others.
   */
  private static final int PARTS_PER_THREAD = 4;

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

  /** Returns the number of ranges into which as many units are cut that move as many bytes. */
  public int parts(long units, long bytes) {
    if (threads == 1 || bytes < 2 * BYTES_PER_PART || units < 2) {
      return 1;
    }
    return (int)
        Math.min(Math.min(units, bytes / BYTES_PER_PART), (long) threads * PARTS_PER_THREAD);
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
