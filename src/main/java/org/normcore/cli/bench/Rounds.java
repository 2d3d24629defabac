package org.normcore.cli.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Times tasks in rounds with one sample of each task, so that other load on the machine affects all
 * tasks alike.
 */
final class Rounds {
  private static final int FEWEST = 5;
  private static final int MOST = 20_000;

  /**
   * Shorter tasks run several times per sample: reading the clock takes about 25 ns, and the first
   * of several calls starts with the caches of the previous task.
   */
  private static final long SAMPLE_NANOS = 100_000;

  private static final int MOST_CALLS = 10_000;

  private final long nanos;
  private final long warmUpNanos;

  /** Measures each task for about the given time, after a warm-up. */
  Rounds(double seconds, double warmUpSeconds) {
    this.nanos = (long) (seconds * 1e9);
    this.warmUpNanos = (long) (warmUpSeconds * 1e9);
  }

  /** The times of one run of each task. Runs each task once before, in the given order. */
  List<Samples> measure(List<Runnable> tasks) {
    tasks.forEach(Runnable::run);
    int[] calls = new int[tasks.size()];
    for (int i = 0; i < calls.length; i++) {
      calls[i] = warmUp(tasks.get(i));
    }
    double[][] times = new double[calls.length][MOST];
    long end = System.nanoTime() + nanos * calls.length;
    int round = 0;
    for (; round < FEWEST || (round < MOST && System.nanoTime() < end); round++) {
      for (int turn = 0; turn < calls.length; turn++) {
        // Each round begins with a different task, so that no task always follows the same one.
        int i = (round + turn) % calls.length;
        times[i][round] = sample(tasks.get(i), calls[i]) / (double) calls[i];
      }
    }
    List<Samples> samples = new ArrayList<>();
    for (double[] ofTask : times) {
      samples.add(new Samples(Arrays.copyOf(ofTask, round)));
    }
    return samples;
  }

  /** Runs a task for a while and returns the number of calls per sample. */
  private int warmUp(Runnable task) {
    long end = System.nanoTime() + warmUpNanos;
    int calls = 1;
    do {
      long taken = Math.max(1, sample(task, calls));
      // A sample of a short measurement is shorter too.
      long wanted = Math.min(SAMPLE_NANOS, nanos / FEWEST);
      calls = (int) Math.max(1, Math.min(MOST_CALLS, wanted * calls / taken));
    } while (System.nanoTime() < end);
    return calls;
  }

  private static long sample(Runnable task, int calls) {
    long begin = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      task.run();
    }
    return System.nanoTime() - begin;
  }
}
