package org.normcore.cli.bench;

import java.util.Arrays;

/** Times a task again and again and takes the median. */
final class Stopwatch {
  private static final int FEWEST = 5;
  private static final int MOST = 100_000;
  private static final long WARM_UP_SHARE = 4;

  private final long nanos;

  /** Measures each task for about that long, after a quarter of it to warm up. */
  Stopwatch(double seconds) {
    this.nanos = (long) (seconds * 1e9);
  }

  /** The median time of one run of the task, in nanoseconds. */
  double median(Runnable task) {
    long warmUpEnd = System.nanoTime() + nanos / WARM_UP_SHARE;
    do {
      task.run();
    } while (System.nanoTime() < warmUpEnd);
    long[] times = new long[MOST];
    int count = 0;
    long end = System.nanoTime() + nanos;
    long begin = System.nanoTime();
    while (count < FEWEST || (begin < end && count < MOST)) {
      task.run();
      long now = System.nanoTime();
      times[count++] = now - begin;
      begin = now;
    }
    Arrays.sort(times, 0, count);
    return (times[(count - 1) / 2] + times[count / 2]) / 2.0;
  }
}
