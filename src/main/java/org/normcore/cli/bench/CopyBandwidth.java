package org.normcore.cli.bench;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** What this machine's memory can do: a plain copy between two buffers, cut among threads. */
final class CopyBandwidth {
  private CopyBandwidth() {}

  /** Bytes read and written per second when a buffer of that size is copied to another. */
  static double measure(long bytes, int threads, Stopwatch stopwatch) {
    int piece = (int) Math.max(1, Math.min(Integer.MAX_VALUE / 2, bytes / threads));
    List<Runnable> copies = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      ByteBuffer source = ByteBuffer.allocateDirect(piece);
      ByteBuffer target = ByteBuffer.allocateDirect(piece);
      copies.add(() -> target.put(0, source, 0, piece));
    }
    double nanos;
    if (threads == 1) {
      nanos = stopwatch.median(copies.get(0));
    } else {
      ExecutorService pool = Executors.newFixedThreadPool(threads - 1);
      try {
        nanos = stopwatch.median(() -> runAll(copies, pool));
      } finally {
        pool.shutdown();
      }
    }
    return 2.0 * piece * threads / nanos * 1e9;
  }

  private static void runAll(List<Runnable> tasks, ExecutorService pool) {
    List<Future<?>> others = new ArrayList<>();
    for (Runnable task : tasks.subList(1, tasks.size())) {
      others.add(pool.submit(task));
    }
    tasks.get(0).run();
    try {
      for (Future<?> other : others) {
        other.get();
      }
    } catch (InterruptedException | ExecutionException e) {
      throw new IllegalStateException("copying failed", e);
    }
  }
}
