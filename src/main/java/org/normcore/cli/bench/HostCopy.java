package org.normcore.cli.bench;

import java.util.Arrays;
import java.util.concurrent.ForkJoinPool;
import org.normcore.TensorView;
import org.normcore.internal.CallContext;
import org.normcore.internal.CallContextPool;

/**
 * Copies in host memory as a measure of the machine's bandwidth. They are split among threads like
 * the calls of operations.
 */
final class HostCopy {
  private static final int DISPATCHES = 101;
  private static final long BETWEEN_NANOS = 200_000;

  private final CallContextPool frames;
  private final int threads;

  HostCopy(int threads) {
    this.frames = new CallContextPool(threads, ForkJoinPool.commonPool());
    this.threads = threads;
  }

  /**
   * Copies one tensor to another of the same size, with non-temporal stores or with {@code memcpy}.
   */
  Runnable of(TensorView from, TensorView to, boolean isStreaming) {
    long bytes = from.elements() * from.dtype().bytes();
    return () -> {
      CallContext frame = frames.take();
      try {
        frame.copy.set(to.address(), from.address(), bytes, isStreaming);
        frame.run(frame.copy, frame.copy.pages(), 2 * bytes);
      } finally {
        frame.release();
      }
    };
  }

  /** The number of threads of a call that moves this many bytes. */
  int threadsFor(long bytes) {
    return frames.threadsFor(bytes);
  }

  /**
   * The median time of an empty parallel call, in nanoseconds, after the other threads have been
   * idle for a while.
   */
  double dispatchNanos() {
    if (threads == 1) {
      return 0;
    }
    double[] times = new double[DISPATCHES];
    CallContext frame = frames.take();
    try {
      frame.copy.set(0, 0, 0, false);
      for (int i = 0; i < times.length; i++) {
        long last = System.nanoTime();
        while (System.nanoTime() - last < BETWEEN_NANOS) {
          Thread.onSpinWait();
        }
        long begin = System.nanoTime();
        // Copies 0 bytes, but is split as if it copied many.
        frame.run(frame.copy, threads, Long.MAX_VALUE);
        times[i] = System.nanoTime() - begin;
      }
    } finally {
      frame.release();
    }
    Arrays.sort(times);
    return times[DISPATCHES / 2];
  }
}
