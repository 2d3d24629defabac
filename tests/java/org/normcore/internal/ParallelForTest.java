package org.normcore.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The parallel-for runs every unit once, whenever helpers start, and idle threads do not spin. */
@Timeout(120)
class ParallelForTest {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  /** Counts the runs of each unit and records the ranges. */
  private static final class Counting extends RangeCall {
    private final AtomicIntegerArray runs;
    private final List<long[]> ranges = new ArrayList<>();

    Counting(int units) {
      runs = new AtomicIntegerArray(units);
    }

    @Override
    int call(long begin, long end) {
      synchronized (ranges) {
        ranges.add(new long[] {begin, end});
      }
      for (long i = begin; i < end; i++) {
        runs.incrementAndGet((int) i);
      }
      return Capi.OK;
    }

    void assertEachOnce(String what) {
      for (int i = 0; i < runs.length(); i++) {
        assertEquals(1, runs.get(i), "runs of unit " + i + ", " + what);
      }
    }
  }

  @Test
  void everyUnitIsRunOnceWhoeverHelps() throws InterruptedException {
    ForkJoinPool pool = new ForkJoinPool(3);
    ExecutorService fixed = Executors.newFixedThreadPool(3);
    List<Runnable> kept = new ArrayList<>();
    List<Executor> executors =
        List.of(
            ForkJoinPool.commonPool(),
            pool,
            fixed,
            Runnable::run,
            task -> {},
            kept::add,
            task -> {
              throw new RejectedExecutionException("busy");
            });
    for (Executor executor : executors) {
      for (int size : new int[] {1, 2, 3, 6, 15}) {
        ParallelFor parallelFor = new ParallelFor(executor, size);
        for (int threads = 2; threads <= size + 1; threads++) {
          for (int units : new int[] {2, 3, 7, 64, 1000}) {
            for (long grain : new long[] {1, 2, 5, 400, 1000, 5000}) {
              Counting call = new Counting(units);
              parallelFor.run(call, units, grain, threads);
              String what =
                  "%d units, grain %d, %d threads, executor %d"
                      .formatted(units, grain, threads, executors.indexOf(executor));
              call.assertEachOnce(what);
              // A late task finds no work or helps the next call.
              kept.forEach(Runnable::run);
              kept.clear();
              call.assertEachOnce(what + ", later");
            }
          }
        }
      }
    }
    pool.shutdown();
    fixed.shutdown();
    assertTrue(pool.awaitTermination(10, TimeUnit.SECONDS));
    assertTrue(fixed.awaitTermination(10, TimeUnit.SECONDS));
  }

  /**
   * Ranges are consecutive and become shorter, down to the grain or the power of two below it; each
   * begins at a multiple of its length.
   */
  @Test
  void rangesShrinkTowardsTheEnd() {
    for (int threads : new int[] {2, 4, 9}) {
      for (long grain : new long[] {1, 10, 100}) {
        Counting call = new Counting(10_000);
        new ParallelFor(task -> {}, threads - 1).run(call, 10_000, grain, threads);
        long begin = 0;
        long before = Long.MAX_VALUE;
        for (long[] range : call.ranges) {
          long length = range[1] - range[0];
          assertEquals(begin, range[0]);
          assertTrue(length <= before, length + " after " + before);
          assertTrue(2 * length > grain || range[1] == 10_000, length + " with grain " + grain);
          assertTrue(Long.bitCount(length) == 1 || range[1] == 10_000, length + " units");
          assertTrue(begin % length == 0 || range[1] == 10_000, length + " at " + begin);
          begin = range[1];
          before = length;
        }
        assertEquals(10_000, begin);
        assertEquals(
            Long.highestOneBit(10_000 / (2 * threads)),
            call.ranges.get(0)[1],
            "up to half of a fair share");
        assertTrue(before <= grain, "the last range: " + before + ", grain " + grain);
      }
    }
  }

  @Test
  void rangesAreAsFewAsExpected() {
    for (int threads : new int[] {2, 3, 4, 8, 9, 64}) {
      CallContextPool pool = new CallContextPool(threads, task -> {});
      for (int units : new int[] {1, 2, 16, 31, 100, 128, 256}) {
        Counting call = new Counting(units);
        new ParallelFor(task -> {}, threads - 1).run(call, units, 1, threads);
        long expected = pool.mostRanges(units);
        String what = units + " units, " + threads + " threads: " + call.ranges.size() + " ranges";
        assertTrue(call.ranges.size() <= expected, what + ", " + expected + " expected at most");
        assertTrue(call.ranges.size() >= Math.min(units, 2 * threads), what);
      }
    }
  }

  /**
   * The requested number of helpers is scheduled, each once, by the caller or by another helper.
   */
  @Test
  void helpersSummonHelpers() throws InterruptedException {
    for (int threads : new int[] {2, 3, 4, 8, 32}) {
      Set<Thread> workers = new HashSet<>();
      AtomicInteger byCaller = new AtomicInteger();
      Thread caller = Thread.currentThread();
      CountDownLatch all = new CountDownLatch(threads);
      ExecutorService service = Executors.newCachedThreadPool();
      Executor counting =
          task -> {
            if (Thread.currentThread() == caller) {
              byCaller.incrementAndGet();
            }
            service.execute(task);
          };
      RangeCall meeting =
          new RangeCall() {
            @Override
            int call(long begin, long end) {
              synchronized (workers) {
                workers.add(Thread.currentThread());
              }
              all.countDown();
              try {
                return all.await(60, TimeUnit.SECONDS) ? Capi.OK : -1;
              } catch (InterruptedException e) {
                return -1;
              }
            }
          };
      // One unit per thread, which waits for the others. The object has room for more helpers than
      // requested.
      new ParallelFor(counting, 40).run(meeting, threads, 1, threads);
      assertEquals(threads, workers.size());
      assertEquals(Math.min(2, threads - 1), byCaller.get(), "woken by the caller");
      service.shutdown();
      assertTrue(service.awaitTermination(10, TimeUnit.SECONDS));
    }
  }

  /** The caller throws the executor's failure, even if a helper encountered it. */
  @Test
  void failuresToSummonReachTheCaller() {
    LinkageError failure = new LinkageError("gone");
    Thread caller = Thread.currentThread();
    ExecutorService service = Executors.newCachedThreadPool();
    Executor failing =
        task -> {
          if (Thread.currentThread() != caller) {
            throw failure;
          }
          service.execute(task);
        };
    ParallelFor parallelFor = new ParallelFor(failing, 7);
    CountDownLatch helped = new CountDownLatch(1);
    RangeCall call =
        new RangeCall() {
          @Override
          int call(long begin, long end) {
            try {
              // Leaves a range to a helper, which fails before it runs the range.
              helped.await(100, TimeUnit.MILLISECONDS);
            } catch (InterruptedException e) {
              throw new IllegalStateException(e);
            }
            return Capi.OK;
          }
        };
    assertSame(failure, assertThrows(LinkageError.class, () -> parallelFor.run(call, 64, 1, 8)));
    service.shutdown();
  }

  /** A call does not wait for a helper that has not started. */
  @Test
  void lateHelpersAreNotWaitedFor() {
    ForkJoinPool busy = new ForkJoinPool(1);
    CountDownLatch end = new CountDownLatch(1);
    busy.execute(
        () -> {
          try {
            end.await();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
        });
    ParallelFor parallelFor = new ParallelFor(busy, 3);
    for (int i = 0; i < 100; i++) {
      Counting call = new Counting(50);
      parallelFor.run(call, 50, 1, 4);
      call.assertEachOnce("call " + i);
    }
    end.countDown();
    busy.shutdown();
  }

  /** Waiting and idle threads park. */
  @Test
  void waitingAndIdleThreadsPark() throws InterruptedException {
    Thread caller = Thread.currentThread();
    Set<Thread> workers = new HashSet<>();
    ForkJoinPool pool =
        new ForkJoinPool(
            2,
            p -> {
              var worker = ForkJoinPool.defaultForkJoinWorkerThreadFactory.newThread(p);
              synchronized (workers) {
                workers.add(worker);
              }
              return worker;
            },
            null,
            false);
    ParallelFor parallelFor = new ParallelFor(pool, 2);
    CountDownLatch begun = new CountDownLatch(1);
    RangeCall slowElsewhere =
        new RangeCall() {
          @Override
          int call(long begin, long end) {
            try {
              if (Thread.currentThread() == caller) {
                return begun.await(60, TimeUnit.SECONDS) ? Capi.OK : -1;
              }
              begun.countDown();
              Thread.sleep(400);
              return Capi.OK;
            } catch (InterruptedException e) {
              return -1;
            }
          }
        };
    long before = THREADS.getCurrentThreadCpuTime();
    parallelFor.run(slowElsewhere, 2, 1, 2);
    long waiting = THREADS.getCurrentThreadCpuTime() - before;
    assertTrue(waiting < 100_000_000, waiting + " ns of processor time to wait 400 ms");

    for (int i = 0; i < 2000; i++) {
      parallelFor.run(new Counting(100), 100, 1, 3);
    }
    Thread.sleep(50);
    long idleBefore = processorTime(workers);
    Thread.sleep(400);
    long idle = processorTime(workers) - idleBefore;
    assertTrue(idle < 100_000_000, idle + " ns of processor time in 400 idle ms");
    pool.shutdown();
  }

  private static long processorTime(Set<Thread> threads) {
    long sum = 0;
    synchronized (threads) {
      for (Thread thread : threads) {
        sum += Math.max(0, THREADS.getThreadCpuTime(thread.getId()));
      }
    }
    return sum;
  }

  @Test
  void shortCallsGetOneThread() {
    CallContextPool one = new CallContextPool(1, Runnable::run);
    CallContextPool many = new CallContextPool(64, Runnable::run);
    for (long bytes : new long[] {0, 1, 4096, 1 << 20, (2 << 20) - 1}) {
      assertEquals(1, many.threadsFor(bytes), bytes + " bytes");
      assertEquals(1, one.threadsFor(bytes), bytes + " bytes");
    }
    assertEquals(2, many.threadsFor(2 << 20));
    assertEquals(64, many.threadsFor(1L << 40));
    assertEquals(1, one.threadsFor(1L << 40));
    int before = 1;
    for (long bytes = 1; bytes < 1L << 32; bytes += bytes / 7 + 1) {
      int threads = many.threadsFor(bytes);
      assertTrue(threads >= before, "more bytes, fewer threads at " + bytes);
      before = threads;
    }
    assertEquals(64, before);
  }

  /** Ranges depend on bytes: wider units make shorter ranges. */
  @Test
  void theGrainIsOfBytes() {
    for (long unit : new long[] {1, 100, 4096, 100_000, 1 << 20, 1L << 33}) {
      for (long units : new long[] {1, 2, 31, 1000, 1 << 20}) {
        long grain = CallContextPool.grain(units, units * unit);
        String what = units + " units of " + unit + " bytes: " + grain;
        assertTrue(grain >= 1 && grain <= units, what);
        assertTrue(grain == 1 || grain * unit <= 2 << 17 || units * unit < 2 << 17, what);
        assertTrue(grain == units || (grain + 1) * unit > 1 << 16, what);
      }
    }
  }
}
