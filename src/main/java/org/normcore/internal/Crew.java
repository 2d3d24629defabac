package org.normcore.internal;

import java.util.concurrent.Executor;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import org.jspecify.annotations.Nullable;

/**
 * The calling thread and its helpers, who share the ranges of one call.
 *
 * <p>A call is cut into parts, numbered from 0. Whoever is free claims the next one, the calling
 * thread like its helpers, so a call goes on even if the executor runs no helper at all, and the
 * caller never waits for anything but parts that are being worked on: there is nothing to deadlock
 * on, in a fork-join worker neither. Helpers are objects that are made once. One that the executor
 * runs only after its call has ended finds no part, or those of the next call; one that is still
 * queued is not queued again.
 *
 * <p>Nothing is allocated here per call. {@code ForkJoinTask.join} is not used, because it
 * allocates when it blocks.
 */
final class Crew {
  /** How often the caller looks for the last parts to end before it parks: some 10 us. */
  private static final int SPINS = 1000;

  private final Executor executor;
  private final Helper[] helpers;

  /**
   * Parts that nobody has claimed. Written last when a call begins, so whoever claims a part sees
   * the rest.
   */
  private final AtomicInteger unclaimed = new AtomicInteger();

  /** Parts that have not ended. */
  private final AtomicInteger unfinished = new AtomicInteger();

  private volatile @Nullable Thread waiter;

  // What is being run; written by the caller before the parts can be claimed, read by whoever has
  // claimed one.
  private @Nullable RangeCall call;
  private long units;
  private int parts;

  // The first failure. Once there is one, parts that have not begun are not run.
  private final AtomicInteger failed = new AtomicInteger();
  private int status;
  private @Nullable String message;
  private @Nullable Throwable thrown;

  Crew(Executor executor, int size) {
    this.executor = executor;
    this.helpers = new Helper[size];
    for (int i = 0; i < size; i++) {
      helpers[i] = new Helper(this);
    }
  }

  /**
   * Runs a call in the given number of parts, and throws the first failure after all of them have
   * ended.
   */
  void run(RangeCall call, long units, int parts) {
    this.call = call;
    this.units = units;
    this.parts = parts;
    failed.setPlain(0);
    unfinished.setPlain(parts);
    unclaimed.set(parts);
    try {
      int wanted = Math.min(parts - 1, helpers.length);
      for (int i = 0; i < wanted && helpers[i].summon(executor); i++) {}
    } catch (Throwable t) {
      fail(Capi.OK, "", t);
    }
    work();
    await();
    this.call = null;
    if (failed.get() != 0) {
      rethrow();
    }
  }

  /** Runs parts until none is left to claim. */
  private void work() {
    for (int left = unclaimed.get(); left > 0; left = unclaimed.get()) {
      if (unclaimed.compareAndSet(left, left - 1)) {
        runPart(parts - left);
        if (unfinished.decrementAndGet() == 0) {
          LockSupport.unpark(waiter);
        }
      }
    }
  }

  private void runPart(int part) {
    if (failed.get() != 0) {
      return;
    }
    try {
      long size = units / parts;
      long longer = units % parts;
      long begin = part * size + Math.min(part, longer);
      long end = begin + size + (part < longer ? 1 : 0);
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
    for (int i = 0; i < SPINS; i++) {
      if (unfinished.get() == 0) {
        return;
      }
      Thread.onSpinWait();
    }
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

  /** A task that claims parts. At any time it is idle, queued at the executor, or running. */
  private static final class Helper extends ForkJoinTask<Void> implements Runnable {
    private static final long serialVersionUID = 1;

    private static final int IDLE = 0;
    private static final int QUEUED = 1;
    private static final int RUNNING = 2;

    private final transient Crew crew;
    private final transient AtomicInteger state = new AtomicInteger(IDLE);

    Helper(Crew crew) {
      this.crew = crew;
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
        crew.work();
        state.set(IDLE);
        // A call that began after the last look for parts saw this helper running and did not queue
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
