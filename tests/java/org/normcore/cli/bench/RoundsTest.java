package org.normcore.cli.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.junit.jupiter.api.Test;

class RoundsTest {
  private static Samples samples(double... byRound) {
    return new Samples(byRound);
  }

  @Test
  void quantilesInterpolate() {
    Samples odd = samples(5, 1, 3);
    assertEquals(3, odd.median());
    assertEquals(1, odd.quantile(0));
    assertEquals(2, odd.quantile(0.25));
    assertEquals(4, odd.quantile(0.75));
    assertEquals(5, odd.quantile(1));
    assertEquals(2.5, samples(4, 1, 2, 3).median());
    assertEquals(7, samples(7).quantile(0.3));
    JsonArray quartiles = odd.quartiles(10);
    assertEquals(
        List.of(20.0, 40.0),
        List.of(quartiles.get(0).getAsDouble(), quartiles.get(1).getAsDouble()));
  }

  /** A slow round affects both tasks alike, so the ratio stays the same. */
  @Test
  void ratiosUseTheSameRound() {
    Samples ratio = samples(30, 60, 30).over(samples(10, 20, 10));
    for (double share : new double[] {0, 0.5, 1}) {
      assertEquals(3, ratio.quantile(share));
    }
  }

  @Test
  void tasksTakeTurns() {
    List<Integer> order = new ArrayList<>();
    List<Runnable> tasks = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      int task = i;
      tasks.add(
          () -> {
            order.add(task);
            // Longer than a sample, so that each sample is one call.
            LockSupport.parkNanos(TimeUnit.MICROSECONDS.toNanos(300));
          });
    }
    List<Samples> samples = new Rounds(0.001, 0.001).measure(tasks);
    assertEquals(3, samples.size());
    assertEquals(List.of(0, 1, 2), order.subList(0, 3), "first in order");
    // At least five rounds, the last ones; earlier calls are the warm-up.
    for (int round = 1; round <= 5; round++) {
      List<Integer> turn = order.subList(order.size() - 3 * round, order.size() - 3 * (round - 1));
      assertEquals(
          3, turn.stream().distinct().count(), "round " + round + " from the end: " + turn);
    }
    for (Samples one : samples) {
      assertTrue(one.median() >= 300_000, one.median() + " ns");
    }
  }

  /** Times are per call, for any number of calls per sample. */
  @Test
  void shortTasksAreTimedTogether() {
    long[] calls = new long[2];
    List<Samples> samples =
        new Rounds(0.02, 0.01)
            .measure(
                List.of(
                    () -> calls[0]++,
                    () -> {
                      calls[1]++;
                      long begin = System.nanoTime();
                      while (System.nanoTime() - begin < 20_000) {
                        Thread.onSpinWait();
                      }
                    }));
    assertTrue(samples.get(0).median() < 5_000, samples.get(0).median() + " ns");
    assertTrue(samples.get(1).median() >= 20_000, samples.get(1).median() + " ns");
    assertTrue(calls[0] > 10 * calls[1], calls[0] + " and " + calls[1] + " calls");
  }

  @Test
  void timeSpentAddsUpAndIsNeverNegative() {
    assertEquals(new TimeSpent(1, 20, 30, 49), TimeSpent.of(100, 1, 20, 30));
    assertEquals(new TimeSpent(1, 20, 79, 0), TimeSpent.of(100, 1, 20, 300));
    assertEquals(new TimeSpent(1, 99, 0, 0), TimeSpent.of(100, 1, 200, 300));
    assertEquals(new TimeSpent(100, 0, 0, 0), TimeSpent.of(100, 101, 200, 300));
    for (double call : new double[] {0, 3, 1e9}) {
      for (double dispatch : new double[] {0, 50, 1e9}) {
        for (double compute : new double[] {0, 70, 1e9}) {
          TimeSpent spent = TimeSpent.of(100, call, dispatch, compute);
          assertEquals(100, spent.total(), 1e-9);
          assertTrue(
              spent.call() >= 0
                  && spent.dispatch() >= 0
                  && spent.compute() >= 0
                  && spent.memory() >= 0,
              spent.toString());
        }
      }
    }
  }

  /** A call of 100 bytes in 10 ns, a copy of 80 bytes in 4 ns and a streaming copy in 2 ns. */
  @Test
  void sharesCompareBytesPerSecond() {
    Throughput throughput =
        new Throughput(2, 100, 80, samples(10, 10), samples(4, 4), samples(2, 2));
    assertEquals(10e9, throughput.bytesPerSecond(), 1);
    assertEquals(20e9, throughput.copyBytesPerSecond(), 1);
    assertEquals(40e9, throughput.streamingBytesPerSecond(), 1);
    assertEquals(0.5, throughput.shareOfCopy(), 1e-12);
    assertEquals(0.25, throughput.shareOfStreaming(), 1e-12);
  }
}
