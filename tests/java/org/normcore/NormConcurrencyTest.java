package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT32;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.Arena;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;
import org.normcore.testing.Values;

@Timeout(120)
class NormConcurrencyTest {
  private static final int ROWS = 520;
  private static final int N = 1024;

  private static Norm.Builder<?> builder(NormKind kind) {
    return NormTensors.builder(
        kind, N, BFLOAT16, BFLOAT16, Affine.WEIGHT_AND_BIAS, NormPolicy.HUGGING_FACE_LLAMA);
  }

  private static List<byte[]> alone(NormKind kind, long seed) {
    try (Norm norm = builder(kind).threads(1).build();
        NormTensors t = new NormTensors(norm, ROWS, true, Layout.DENSE, seed)) {
      t.run();
      return t.results();
    }
  }

  /** Calls a norm repeatedly with its own tensors and Saved. */
  private static void repeat(Norm norm, long seed, int times) {
    List<byte[]> expected = alone(norm.kind(), seed);
    try (NormTensors t = new NormTensors(norm, ROWS, true, Layout.DENSE, seed);
        Saved saved = norm.newSaved(ROWS)) {
      for (int i = 0; i < times; i++) {
        t.clear();
        norm.forward(t.operands(), saved);
        norm.backward(saved, t.dy, t.gradients());
        t.assertResults(expected, "seed " + seed + ", round " + i);
      }
      t.assertGuards();
    }
  }

  private static void all(ExecutorService service, List<Callable<Void>> tasks)
      throws InterruptedException, ExecutionException {
    for (Future<Void> future : service.invokeAll(tasks)) {
      future.get();
    }
  }

  @ParameterizedTest
  @EnumSource
  void manyThreadsShareANorm(NormKind kind) throws InterruptedException, ExecutionException {
    int callers = 8;
    ExecutorService service = Executors.newFixedThreadPool(callers);
    CountDownLatch start = new CountDownLatch(callers);
    for (int threads : new int[] {1, 3}) {
      try (Norm norm = builder(kind).threads(threads).build()) {
        List<Callable<Void>> tasks = new ArrayList<>();
        for (int i = 0; i < callers; i++) {
          long seed = i;
          tasks.add(
              () -> {
                start.countDown();
                start.await();
                repeat(norm, seed, 15);
                return null;
              });
        }
        all(service, tasks);
      }
    }
    service.shutdown();
  }

  /** Calls from inside the executor's own pool: no call waits for a task that cannot start. */
  @ParameterizedTest
  @EnumSource
  void nestedInAForkJoinWorker(NormKind kind) throws InterruptedException, ExecutionException {
    for (ForkJoinPool pool :
        new ForkJoinPool[] {new ForkJoinPool(1), new ForkJoinPool(2), ForkJoinPool.commonPool()}) {
      try (Norm norm = builder(kind).threads(4).executor(pool).build()) {
        List<Callable<Void>> tasks = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
          long seed = i;
          tasks.add(
              () -> {
                repeat(norm, seed, 4);
                return null;
              });
        }
        all(pool, tasks);
        pool.submit(() -> IntStream.range(0, 8).parallel().forEach(seed -> repeat(norm, seed, 2)))
            .get();
      }
      if (pool != ForkJoinPool.commonPool()) {
        pool.shutdown();
      }
    }
  }

  /** A failing range makes the call fail with its message; the norm remains usable. */
  @ParameterizedTest
  @EnumSource
  void rangeFailuresAreRethrown(NormKind kind) {
    for (Executor executor :
        List.<Executor>of(ForkJoinPool.commonPool(), Runnable::run, task -> {})) {
      try (Arena arena = new Arena();
          Norm norm = builder(kind).threads(4).executor(executor).build();
          NormTensors t = new NormTensors(norm, ROWS, true, Layout.DENSE, 1)) {
        // Only the native side detects an overlap, in each range.
        TensorView both =
            arena.tensor(BFLOAT16, (ROWS + 1) * N).copyFrom(Values.normal(1, (ROWS + 1) * N));
        TensorView x = both.reshape(ROWS + 1, N).rows(0, ROWS);
        TensorView y = both.reshape(ROWS + 1, N).rows(1, ROWS + 1);
        List<byte[]> before = arena.snapshot();
        for (int i = 0; i < 20; i++) {
          String message =
              assertThrows(
                      IllegalArgumentException.class,
                      () -> norm.infer(Operands.of(x, y).weight(t.weight).bias(t.bias)))
                  .getMessage();
          assertTrue(message.contains("y") && message.contains("shares memory"), message);
        }
        arena.assertUnchanged(before, "a call whose ranges fail");
        t.run();
        t.assertResults(alone(kind, 1), "after failures");
      }
    }
  }

  @Test
  void executorFailuresAreRethrown() {
    for (Throwable failure : List.of(new IllegalStateException("full"), new LinkageError("gone"))) {
      Executor failing =
          task -> {
            if (failure instanceof RuntimeException e) {
              throw e;
            }
            throw (Error) failure;
          };
      try (Norm norm = builder(NormKind.RMS_NORM).threads(2).executor(failing).build();
          NormTensors t = new NormTensors(norm, ROWS, false, Layout.DENSE, 1);
          Saved saved = norm.newSaved(ROWS)) {
        assertSame(failure, assertThrows(failure.getClass(), () -> norm.infer(t.operands())));
        assertSame(
            failure, assertThrows(failure.getClass(), () -> norm.forward(t.operands(), saved)));
        assertThrows(IllegalStateException.class, saved::rows, "nothing was saved");
      }
    }
  }

  /**
   * The executor runs its task, which writes, and then fails: this invalidates a Saved if a forward
   * was refilling it or a backward was overwriting its x. A backward that writes elsewhere leaves
   * it valid.
   */
  @Test
  void partlyOverwrittenSavedIsInvalidated() {
    IllegalArgumentException failure = new IllegalArgumentException("late");
    boolean[] fails = new boolean[1];
    Executor late =
        task -> {
          task.run();
          if (fails[0]) {
            throw failure;
          }
        };
    try (Norm norm = builder(NormKind.RMS_NORM).threads(2).executor(late).build();
        NormTensors t = new NormTensors(norm, ROWS, false, Layout.DENSE, 1);
        Saved saved = norm.newSaved(ROWS)) {
      norm.forward(t.operands(), saved);
      fails[0] = true;
      assertSame(
          failure,
          assertThrows(failure.getClass(), () -> norm.backward(saved, t.dy, Gradients.of(t.dx))));
      assertEquals(ROWS, saved.rows(), "dx lies elsewhere");
      assertSame(
          failure, assertThrows(failure.getClass(), () -> norm.forward(t.operands(), saved)));
      assertThrows(IllegalStateException.class, saved::rows, "the statistics are half new");
      fails[0] = false;
      norm.forward(t.operands(), saved);
      fails[0] = true;
      assertSame(
          failure,
          assertThrows(failure.getClass(), () -> norm.backward(saved, t.dy, Gradients.of(t.x))));
      assertThrows(IllegalStateException.class, saved::rows, "x is half dx");
    }
  }

  @Test
  void interruptStatusIsKept() {
    try (Norm norm = builder(NormKind.LAYER_NORM).threads(3).build();
        NormTensors t = new NormTensors(norm, ROWS, true, Layout.DENSE, 5)) {
      for (int i = 0; i < 50; i++) {
        Thread.currentThread().interrupt();
        t.run();
        assertTrue(Thread.interrupted(), "the flag is as it was");
      }
      t.assertResults(alone(NormKind.LAYER_NORM, 5), "interrupted");
    }
  }

  /** Two concurrent calls use one Saved: one succeeds, the other is refused. */
  @Test
  void savedRefusesConcurrentCalls() throws InterruptedException, ExecutionException {
    ExecutorService service = Executors.newFixedThreadPool(4);
    try (Norm norm =
            NormTensors.builder(
                    NormKind.RMS_NORM, 64, FLOAT32, FLOAT32, Affine.WEIGHT, NormPolicy.PYTORCH)
                .build();
        NormTensors t = new NormTensors(norm, 50, false, Layout.DENSE, 1);
        Saved saved = norm.forward(t.operands())) {
      norm.backward(saved, t.dy, t.gradients());
      List<byte[]> expected = t.results();
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        tasks.add(
            () -> {
              try (NormTensors own = new NormTensors(norm, 50, false, Layout.DENSE, 1)) {
                own.y.copyFrom(t.y);
                for (int done = 0; done < 200; ) {
                  try {
                    norm.backward(saved, own.dy, own.gradients());
                    done++;
                  } catch (IllegalStateException e) {
                    assertEquals("Saved is in use", e.getMessage());
                  }
                }
                own.assertResults(expected, "a shared Saved");
              }
              return null;
            });
      }
      all(service, tasks);
    } finally {
      service.shutdown();
    }
  }
}
