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
 * The calling thread and its helpers, who share the units of one call.
 *
 * <p>Whoever is free claims a range of what is left, the calling thread like its helpers, so a call
 * goes on even if the executor runs no helper at all, and the caller never waits for anything but
 * ranges that are being worked on: there is nothing to deadlock on, in a fork-join worker neither.
 * Ranges follow each other in memory and become shorter as the call nears its end, so all end at
 * about the same time, a helper that came late or was held up among them. Their lengths are powers
 * of two, so each begins at a multiple of its length: sums over row groups form a tree, and a range
 * of them can sum a whole branch.
 *
 * <p>Waking a thread costs whoever does it several microseconds. The caller wakes two helpers, and
 * each of them two more.
 *
 * <p>Helpers are objects that are made once. One that the executor runs only after its call has
 * ended finds nothing to claim, or ranges of the next call; one that is still queued is not queued
 * again. Nobody looks for work that has not come: helpers go back to the executor, whose idle
 * threads park.
 *
 * <p>Nothing is allocated here per call. {@code ForkJoinTask.join} is not used, because it
 * allocates when it blocks.
 */
final class Crew {
  /**
   * How long the caller looks for the last ranges to end before it parks: as long as that takes.
   */
  private static final long SPIN_NANOS = 20_000;

  private final Executor executor;
  private final Helper[] helpers;

  /**
   * Units that nobody has claimed. Written last when a call begins, so whoever claims some sees the
   * rest.
   */
  private final AtomicLong unclaimed = new AtomicLong();

  /** Units that are not done. */
  private final AtomicLong unfinished = new AtomicLong();

  private volatile @Nullable Thread waiter;

  // What is being run; written by the caller before units can be claimed, read by whoever has
  // claimed some, but for the grain and the threads.
  private @Nullable RangeCall call;
  private long units;
  private volatile long grain;
  private volatile int threads;

  // The first failure. Once there is one, ranges that have not begun are not run.
  private final AtomicInteger failed = new AtomicInteger();
  private int status;
  private @Nullable String message;
  private @Nullable Throwable thrown;

  Crew(Executor executor, int size) {
    this.executor = executor;
    this.helpers = new Helper[size];
    for (int i = 0; i < size; i++) {
      helpers[i] = new Helper(this, i + 1);
    }
  }

  /**
   * Runs a call in ranges of about {@code grain} units at least and in up to as many threads, the
   * calling one among them. Throws the first failure after all of it has ended.
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
      summon(0);
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

  /** Summons the helpers that are up to a member: numbers 2k+1 and 2k+2 to number k. */
  private void summon(int member) {
    for (int next = 2 * member + 1; next <= 2 * member + 2 && next < threads; next++) {
      if (!helpers[next - 1].summon(executor)) {
        return;
      }
    }
  }

  /** Runs ranges until none is left to claim. */
  private void work(int member) {
    boolean isNew = member > 0;
    for (long left = unclaimed.get(); left > 0; left = unclaimed.get()) {
      // A helper of the last call may see the numbers of the next one: any will do.
      long fair = Math.max(grain, left / (2L * threads));
      long claimed = Math.min(left, Long.highestOneBit(fair));
      if (unclaimed.compareAndSet(left, left - claimed)) {
        long begin = units - left;
        runRange(begin, begin + claimed, isNew ? member : 0);
        isNew = false;
        if (unfinished.addAndGet(-claimed) == 0) {
          LockSupport.unpark(waiter);
        }
      }
    }
  }

  private void runRange(long begin, long end, int arriving) {
    if (failed.get() != 0) {
      return;
    }
    try {
      if (arriving > 0) {
        summon(arriving);
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
    // The fields are read after the last part has ended, hence after this.
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
      // A pending interrupt would turn the loop into a busy one; it is restored for the caller.
      interrupted |= Thread.interrupted();
    }
    waiter = null;
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /** A task that claims ranges. At any time it is idle, queued at the executor, or running. */
  private static final class Helper extends ForkJoinTask<Void> implements Runnable {
    private static final long serialVersionUID = 1;

    private static final int IDLE = 0;
    private static final int QUEUED = 1;
    private static final int RUNNING = 2;

    private final transient Crew crew;
    private final int member;
    private final transient AtomicInteger state = new AtomicInteger(IDLE);

    Helper(Crew crew, int member) {
      this.crew = crew;
      this.member = member;
    }

    /** Sees to it that the helper comes. Returns false if the executor takes no more. */
    boolean summon(Executor executor) {
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
        crew.work(member);
        state.set(IDLE);
        // A call that began after the last look for work saw this helper running and did not queue
        // it.
      } while (crew.unclaimed.get() > 0 && state.compareAndSet(IDLE, RUNNING));
    }

    /** Never completes the task, so that it can be queued again without being reset. */
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
