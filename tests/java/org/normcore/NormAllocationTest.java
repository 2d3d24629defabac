package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.normcore.DType.BFLOAT16;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ForkJoinPool;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/**
 * Calls on the hot path allocate nothing on the Java heap: the JVM counts allocations per thread.
 */
class NormAllocationTest {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  private static long allocated(Set<Thread> threads) {
    long sum = 0;
    for (Thread thread : threads) {
      sum += THREADS.getThreadAllocatedBytes(thread.getId());
    }
    return sum;
  }

  /** Bytes that the threads allocate while the body runs, minus the cost of the measurement. */
  private static long allocatedBy(Set<Thread> threads, int calls, Runnable body) {
    allocated(threads);
    long first = allocated(threads);
    long begin = allocated(threads);
    for (int i = 0; i < calls; i++) {
      body.run();
    }
    return allocated(threads) - begin - (begin - first);
  }

  /**
   * The minimum of a few rounds. An allocation per call is counted in every round. If a pool
   * replaces a thread, or a call makes a new context because a worker still uses the previous one,
   * the allocation is counted in one round only.
   */
  static long leastAllocatedBy(Set<Thread> threads, int calls, Runnable body) {
    long least = Long.MAX_VALUE;
    for (int round = 0; round < 5 && least != 0; round++) {
      least = Math.min(least, allocatedBy(threads, calls, body));
    }
    return least;
  }

  private static void assertNothingAllocated(
      Norm norm, int rows, int calls, Set<Thread> threads, String what) {
    try (NormTensors t = new NormTensors(norm, rows, true, Layout.DENSE, 1);
        Saved saved = norm.newSaved(rows);
        Saved statistics = norm.forward(t.operands());
        NativeBuffer workspace =
            NativeBuffer.allocate(norm.backwardWorkspaceBytes(rows, t.gradients()))) {
      Operands operands = t.operands();
      Gradients gradients = t.gradients();
      TensorView mean = statistics.mean();
      TensorView rstd = statistics.rstd();
      List<Runnable> hotCalls =
          List.of(
              () -> norm.infer(operands),
              () -> norm.forward(operands, saved),
              () -> norm.forward(operands, mean, rstd),
              () -> norm.backward(saved, t.dy, gradients),
              () -> norm.backward(t.residualOut, t.weight, mean, rstd, t.dy, gradients, workspace));
      for (Runnable call : hotCalls) {
        for (int i = 0; i < calls; i++) {
          call.run(); // Warm-up: compiles the code and allocates all call contexts.
        }
      }
      for (int i = 0; i < hotCalls.size(); i++) {
        assertEquals(
            0,
            leastAllocatedBy(threads, calls, hotCalls.get(i)),
            "bytes allocated by %d calls number %d of %s, %s".formatted(calls, i, norm, what));
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void inOneThread(NormKind kind) {
    for (int threads : new int[] {1, 4}) {
      try (Norm norm =
          NormTensors.builder(
                  kind,
                  256,
                  BFLOAT16,
                  BFLOAT16,
                  Affine.WEIGHT_AND_BIAS,
                  NormPolicy.HUGGING_FACE_LLAMA)
              .threads(threads)
              .build()) {
        assertNothingAllocated(norm, 4, 10_000, Set.of(Thread.currentThread()), "one range");
      }
    }
  }

  /** Batches that differ in size from call to call. */
  @ParameterizedTest
  @EnumSource
  void withChangingRows(NormKind kind) {
    try (Norm norm =
            NormTensors.builder(
                    kind, 256, BFLOAT16, BFLOAT16, Affine.WEIGHT_AND_BIAS, NormPolicy.PYTORCH)
                .threads(1)
                .build();
        NormTensors few = new NormTensors(norm, 2, true, Layout.DENSE, 1);
        NormTensors many = new NormTensors(norm, 40, true, Layout.DENSE, 2);
        Saved saved = norm.newSaved(40)) {
      Operands[] operands = {few.operands(), many.operands()};
      Gradients[] gradients = {few.gradients(), many.gradients()};
      TensorView[] dy = {few.dy, many.dy};
      Runnable step =
          () -> {
            for (int i = 0; i < 2; i++) {
              norm.forward(operands[i], saved);
              norm.backward(saved, dy[i], gradients[i]);
            }
          };
      for (int i = 0; i < 5_000; i++) {
        step.run();
      }
      Set<Thread> caller = Set.of(Thread.currentThread());
      assertEquals(0, leastAllocatedBy(caller, 1_000, step), "bytes allocated by " + norm);
    }
  }

  @ParameterizedTest
  @EnumSource
  void withFp8Outputs(Fp8Scaling scaling) {
    for (int threads : new int[] {1, 4}) {
      try (Norm norm =
          NormTensors.builder(
                  NormKind.RMS_NORM,
                  256,
                  BFLOAT16,
                  BFLOAT16,
                  Affine.WEIGHT,
                  NormPolicy.HUGGING_FACE_LLAMA)
              .output(DType.FLOAT8_E4M3)
              .outputScaling(scaling)
              .threads(threads)
              .build()) {
        assertNothingAllocated(norm, 4, 10_000, Set.of(Thread.currentThread()), "one range");
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void inSeveralThreads(NormKind kind) {
    Set<Thread> threads = ConcurrentHashMap.newKeySet();
    threads.add(Thread.currentThread());
    ForkJoinPool pool =
        new ForkJoinPool(
            2,
            p -> {
              var worker = ForkJoinPool.defaultForkJoinWorkerThreadFactory.newThread(p);
              threads.add(worker);
              return worker;
            },
            null,
            false);
    try (Norm norm =
        NormTensors.builder(
                kind, 2048, BFLOAT16, BFLOAT16, Affine.WEIGHT_AND_BIAS, NormPolicy.PYTORCH)
            .threads(3)
            .executor(pool)
            .build()) {
      assertNothingAllocated(norm, 200, 300, threads, "several ranges");
      assertEquals(3, threads.size(), "the pool has worked with its two threads");
    } finally {
      pool.shutdown();
    }
  }
}
