package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.util.ArrayList;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.RejectedExecutionException;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/**
 * Results are bit-identical for every vector level, thread count, executor, layout, batch and run.
 */
class NormInvarianceTest {
  record Case(
      NormKind kind, int rows, int n, DType input, DType weight, NormPolicy policy, long seed) {

    Norm.Builder<?> builder() {
      return NormTensors.builder(kind, n, input, weight, Affine.WEIGHT_AND_BIAS, policy);
    }

    /** Plain C++, one thread. */
    Norm plain() {
      return builder().vectorLevel(VectorLevel.PLAIN).threads(1).build();
    }
  }

  /** Shapes with one range and with many ranges, with few long rows and with many short rows. */
  static Stream<Case> cases() {
    int[][] shapes = {{5, 9}, {350, 769}, {66, 4096}, {5, 65537}, {8000, 33}};
    DType[][] types = {
      {BFLOAT16, BFLOAT16},
      {FLOAT32, FLOAT32},
      {BFLOAT16, FLOAT32},
      {FLOAT16, FLOAT16},
      {FLOAT64, FLOAT32}
    };
    NormPolicy[] policies = {
      NormPolicy.HUGGING_FACE_LLAMA,
      NormPolicy.PYTORCH,
      NormPolicy.T5.toBuilder().variance(VarianceAlgorithm.WELFORD).build(),
      NormPolicy.GEMMA.toBuilder().variance(VarianceAlgorithm.SUM_OF_SQUARES).build(),
      NormPolicy.LAYER_NORM_1P.toBuilder().compute(ComputeType.FLOAT64).build()
    };
    List<Case> cases = new ArrayList<>();
    for (NormKind kind : NormKind.values()) {
      for (int i = 0; i < shapes.length; i++) {
        // The two norms together cover each shape with each pair of types and each policy.
        for (int j = 0; j < types.length; j += 2) {
          int k = (i + j + kind.ordinal()) % types.length;
          int[] shape = shapes[i];
          cases.add(
              new Case(
                  kind,
                  shape[0],
                  shape[1],
                  types[k][0],
                  types[k][1],
                  policies[(i + j) % policies.length],
                  cases.size()));
        }
      }
    }
    return cases.stream();
  }

  private static List<byte[]> expected(Case c) {
    try (Norm norm = c.plain();
        NormTensors t = new NormTensors(norm, c.rows, true, Layout.DENSE, c.seed)) {
      t.run();
      return t.results();
    }
  }

  private static void assertSame(NormTensors t, Norm norm, List<byte[]> expected, String what) {
    t.clear();
    t.run(norm);
    t.assertResults(expected, what + ", " + norm);
  }

  @ParameterizedTest
  @MethodSource("cases")
  void levelsAndThreadsAndRuns(Case c) {
    List<byte[]> expected = expected(c);
    try (Norm plain = c.plain();
        NormTensors t = new NormTensors(plain, c.rows, true, Layout.DENSE, c.seed)) {
      for (VectorLevel level : VectorLevel.values()) {
        for (int threads : new int[] {1, 2, 3, 7}) {
          // BEST equals the level it selects; the first run was PLAIN in one thread.
          if (level.isSupported() && level != VectorLevel.best()) {
            try (Norm norm = c.builder().vectorLevel(level).threads(threads).build()) {
              assertSame(t, norm, expected, level + " with " + threads + " threads");
            }
          }
        }
      }
      t.assertGuards();
    }
  }

  /** Rows so long that the second step of a backward is also parallel, over columns. */
  @ParameterizedTest
  @EnumSource
  void longRowsInSeveralThreads(NormKind kind) {
    Case c = new Case(kind, 40, 70_001, BFLOAT16, BFLOAT16, NormPolicy.HUGGING_FACE_LLAMA, 1);
    List<byte[]> expected = expected(c);
    for (int threads : new int[] {2, 5}) {
      try (Norm norm = c.builder().threads(threads).build();
          NormTensors t = new NormTensors(norm, c.rows, true, Layout.DENSE, c.seed)) {
        assertTrue(norm.backwardWorkspaceBytes(c.rows, t.gradients()) > 4 << 20, "to be shared");
        assertSame(t, norm, expected, threads + " threads");
        t.assertGuards();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void executors(Case c) {
    List<byte[]> expected = expected(c);
    ForkJoinPool pool = new ForkJoinPool(3);
    ExecutorService service = Executors.newFixedThreadPool(3);
    Queue<Runnable> late = new ConcurrentLinkedQueue<>();
    List<Executor> executors =
        List.of(
            ForkJoinPool.commonPool(),
            pool,
            service,
            Runnable::run,
            task -> {},
            late::add,
            task -> {
              throw new RejectedExecutionException("busy");
            });
    try (Norm plain = c.plain();
        NormTensors t = new NormTensors(plain, c.rows, true, Layout.DENSE, c.seed)) {
      for (int i = 0; i < executors.size(); i++) {
        try (Norm norm = c.builder().threads(4).executor(executors.get(i)).build()) {
          assertSame(t, norm, expected, "executor " + i);
          // Tasks that start after their call has ended find no work.
          late.forEach(Runnable::run);
          late.clear();
          t.assertResults(expected, "after late tasks");
        }
      }
      pool.shutdown();
      service.shutdown();
      for (Executor ended : List.of(pool, service)) {
        try (Norm norm = c.builder().threads(4).executor(ended).build()) {
          assertSame(t, norm, expected, "an executor that was shut down");
        }
      }
    } finally {
      pool.shutdown();
      service.shutdown();
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void alignmentAndStride(Case c) {
    List<byte[]> expected = expected(c);
    for (Layout layout :
        List.of(
            new Layout(1, 0, 0),
            new Layout(0, 1, 1),
            new Layout(c.input.bytes(), 0, 8),
            new Layout(31, 64, 5))) {
      try (Norm norm = c.builder().threads(2).build();
          NormTensors t = new NormTensors(norm, c.rows, true, layout, c.seed)) {
        t.run();
        t.assertResults(expected, layout + ", " + norm);
        t.assertGuards();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void batchSize(Case c) {
    try (Norm norm = c.builder().threads(2).build();
        NormTensors all = new NormTensors(norm, c.rows, true, Layout.DENSE, c.seed)) {
      all.run();
      for (int rows : new int[] {1, 2, 3, c.rows / 2, c.rows - 1}) {
        try (NormTensors some = new NormTensors(norm, rows, true, Layout.DENSE, c.seed)) {
          some.run();
          List<byte[]> expected = all.rowResults(0, rows);
          List<byte[]> actual = some.rowResults(0, rows);
          for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), actual.get(i), rows + " rows, " + norm);
          }
        }
      }
    }
  }
}
