package org.normcore.internal;

import java.util.concurrent.Executor;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * A parallel-for: the calling thread and its workers claim index ranges of one call.
 *
 * <p>The caller and the workers claim ranges of the remaining units, so a call completes even if
 * the executor runs no worker. The caller waits only for ranges that are already running: it cannot
 * deadlock, even inside a fork-join worker. Ranges are consecutive and become shorter towards the
 * end of the call, so all threads finish at about the same time, including a worker that started
 * late or was descheduled. Range lengths are powers of two, so each range begins at a multiple of
 * its length: sums over row groups form a tree, and a range of row groups can sum a whole branch.
 *
 * <p>Waking a thread costs the waking thread several microseconds. The caller wakes two workers,
 * and each of them wakes two more.
 *
 * <p>Workers are allocated once. A worker that the executor runs after its call has ended finds
 * nothing to claim, or claims ranges of the next call; a worker that is still queued is not queued
 * again. Workers do not spin for work: they return to the executor, whose idle threads park.
 *
 * <p>A call allocates nothing here. {@code ForkJoinTask.join} is not used, because it allocates
 * when it blocks.
 */
final class ParallelFor {
  /**
   * How long the caller spins for the last ranges before it parks: about as long as parking takes.
   */
  private static final long SPIN_NANOS = 20_000;

  private final Executor executor;
  private final Worker[] workers;

  /**
   * Unclaimed units. Written last when a call begins, so a thread that claims units sees the other
   * fields.
   */
  private final AtomicLong unclaimed = new AtomicLong();

  /** Unfinished units. */
  private final AtomicLong unfinished = new AtomicLong();

  private volatile @Nullable Thread waiter;

  // The running call: written by the caller before units can be claimed, read by threads that have
  // claimed units. Workers read grain and threads before they claim.
  private @Nullable RangeCall call;
  private long units;
  private volatile long grain;
  private volatile int threads;

  // The first failure. After it, ranges that have not begun are skipped.
  private final AtomicInteger failed = new AtomicInteger();
  private int status;
  private @Nullable String message;
  private @Nullable Throwable thrown;

  ParallelFor(Executor executor, int size) {
    this.executor = executor;
    this.workers = new Worker[size];
    for (int i = 0; i < size; i++) {
      workers[i] = new Worker(this, i + 1);
    }
  }

  /**
   * Runs a call in ranges of at least about {@code grain} units and in up to {@code threads}
   * threads, including the caller. Throws the first failure after all ranges have ended.
   */
  void run(RangeCall call, long units, long grain, int threads) {
    this.call = call;
    this.units = units;
    this.grain = grain;
    this.threads = threads;
    failed.setPlain(0);
    unfinished.setPlain(units);
    unclaimed.set(units);
    try {
      wake(0);
    } catch (Throwable t) {
      fail(Capi.OK, "", t);
    }
    work(0);
    await();
    this.call = null;
    if (failed.get() != 0) {
      rethrow();
    }
  }

  /** Schedules the workers that member k wakes: 2k+1 and 2k+2. */
  private void wake(int index) {
    for (int next = 2 * index + 1; next <= 2 * index + 2 && next < threads; next++) {
      if (!workers[next - 1].wake(executor)) {
        return;
      }
    }
  }

  /** Claims and runs ranges until no units remain. */
  private void work(int index) {
    boolean isNew = index > 0;
    for (long left = unclaimed.get(); left > 0; left = unclaimed.get()) {
      // A worker of the previous call may read grain and threads of the next one: any values are
      // valid.
      long fair = Math.max(grain, left / (2L * threads));
      long claimed = Math.min(left, Long.highestOneBit(fair));
      if (unclaimed.compareAndSet(left, left - claimed)) {
        long begin = units - left;
        runRange(begin, begin + claimed, isNew ? index : 0);
        isNew = false;
        if (unfinished.addAndGet(-claimed) == 0) {
          LockSupport.unpark(waiter);
        }
      }
    }
  }

  private void runRange(long begin, long end, int arrivedIndex) {
    if (failed.get() != 0) {
      return;
    }
    try {
      if (arrivedIndex > 0) {
        wake(arrivedIndex);
      }
      RangeCall current = call;
      if (current != null) {
        int result = current.call(begin, end);
        if (result != Capi.OK) {
          fail(result, Capi.lastError(), null);
        }
      }
    } catch (Throwable t) {
      fail(Capi.OK, "", t);
    }
  }

  private void fail(int status, String message, @Nullable Throwable thrown) {
    // The caller reads these fields after the last range has ended, hence after these writes.
    if (failed.compareAndSet(0, 1)) {
      this.status = status;
      this.message = message;
      this.thrown = thrown;
    }
  }

  private void rethrow() {
    Throwable cause = thrown;
    thrown = null;
    if (cause instanceof RuntimeException e) {
      throw e;
    } else if (cause instanceof Error e) {
      throw e;
    }
    Capi.fail(status, String.valueOf(message));
  }

  private void await() {
    long begin = System.nanoTime();
    do {
      if (unfinished.get() == 0) {
        return;
      }
      Thread.onSpinWait();
    } while (System.nanoTime() - begin < SPIN_NANOS);
    boolean interrupted = false;
    waiter = Thread.currentThread();
    while (unfinished.get() != 0) {
      LockSupport.park(this);
      // A pending interrupt would make park return at once; it is restored for the caller.
      interrupted |= Thread.interrupted();
    }
    waiter = null;
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** A task that claims ranges. Its state is idle, queued at the executor, or running. */
  private static final class Worker extends ForkJoinTask<Void> implements Runnable {
    private static final long serialVersionUID = 1;

    private static final int IDLE = 0;
    private static final int QUEUED = 1;
    private static final int RUNNING = 2;

    private final transient ParallelFor parallelFor;
    private final int index;
    private final transient AtomicInteger state = new AtomicInteger(IDLE);

    Worker(ParallelFor parallelFor, int index) {
      this.parallelFor = parallelFor;
      this.index = index;
    }

    /**
     * Schedules the worker unless it is queued or running. Returns false if the executor rejects
     * it.
     */
    boolean wake(Executor executor) {
      if (!state.compareAndSet(IDLE, QUEUED)) {
        return true;
      }
      boolean taken = false;
      try {
        if (executor instanceof ForkJoinPool pool) {
          pool.execute((ForkJoinTask<?>) this);
        } else {
          executor.execute(this);
        }
        taken = true;
      } catch (RejectedExecutionException e) {
        // The calling thread does the work.
      } finally {
        if (!taken) {
          state.compareAndSet(QUEUED, IDLE);
        }
      }
      return taken;
    }

    @Override
    public void run() {
      state.set(RUNNING);
      do {
        parallelFor.work(index);
        state.set(IDLE);
        // A call that began after the last check for work found this worker running and did not
        // queue it.
      } while (parallelFor.unclaimed.get() > 0 && state.compareAndSet(IDLE, RUNNING));
    }

    /** Returns false, so the task never completes and can be queued again without a reset. */
    @Override
    protected boolean exec() {
      run();
      return false;
    }

    @Override
    public Void getRawResult() {
      return null;
    }

    @Override
    protected void setRawResult(Void value) {}
  }
}
