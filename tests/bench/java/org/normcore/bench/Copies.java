package org.normcore.bench;

import org.normcore.TensorView;

/**
 * A copy between tensors of the workload's size, with the same number of threads, in equal parts.
 * The helpers spin during a measurement, so the times exclude wake-ups.
 */
final class Copies implements Contender {
  /** Copies bytes in the calling thread. */
  interface Copy {
    void run(long to, long from, long bytes);
  }

  /** Below this size two threads take longer than one. */
  private static final long SMALLEST_PART = 64 << 10;

  /** Parts are aligned to cache lines. */
  private static final long LINE = 64;

  private final Copy copy;
  private final long from;
  private final long to;
  private final long part;
  private final long last;
  private final Spinner[] helpers;

  Copies(Copy copy, TensorView to, TensorView from, int threads) {
    this.copy = copy;
    this.from = from.address();
    this.to = to.address();
    long bytes = from.elements() * from.dtype().bytes();
    int parts = (int) Math.max(1, Math.min(threads, bytes / SMALLEST_PART));
    this.part = bytes / parts / LINE * LINE;
    this.last = bytes - (parts - 1) * part;
    this.helpers = new Spinner[parts - 1];
  }

  @Override
  public void begin() {
    for (int i = 0; i < helpers.length; i++) {
      long offset = i * part;
      helpers[i] = new Spinner(() -> copy.run(to + offset, from + offset, part));
    }
  }

  @Override
  public void run() {
    for (Spinner helper : helpers) {
      helper.start();
    }
    long offset = helpers.length * part;
    copy.run(to + offset, from + offset, last);
    for (Spinner helper : helpers) {
      helper.await();
    }
  }

  @Override
  public void end() {
    for (Spinner helper : helpers) {
      helper.stop();
    }
  }

  @Override
  public void close() {}
}
