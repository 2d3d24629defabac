package org.normcore;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.List;
import org.normcore.internal.Capi;
import org.normcore.internal.capi.global.normcore;
import org.normcore.testing.Values;

/**
 * What the Java interface costs on top of the native call: nanoseconds and allocated bytes per call
 * of the smallest sensible norm and of one row of a usual hidden size, in one thread, beside the
 * bare call of the generated binding with the same addresses. Not a test: nothing is asserted but
 * that every call succeeds.
 *
 * <p>Both sides run in alternating rounds in one process, and the table shows the medians over the
 * rounds, so that a busy machine hits them alike. To be run in two steps, because the arguments
 * would reach the build's own programs too:
 *
 * <pre>{@code
 * mvn -q test-compile
 * mvn -q exec:exec -Dexec.classpathScope=test -Dexec.executable=java \
 *     -Dexec.args="-cp %classpath:target/native org.normcore.CallOverhead"
 * }</pre>
 */
final class CallOverhead {
  private static final int WARM_UP = 200;
  private static final int ROUNDS = 301;
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

  /** One operation through the Java interface and bare. */
  private record Pair(String name, Runnable java, Runnable bare) {}

  private CallOverhead() {}

  /** Prints the table. */
  public static void main(String[] args) {
    System.out.printf(
        "%-34s %10s %10s %10s %12s%n",
        "float32, 1 thread", "Java ns", "bare ns", "extra ns", "B/call");
    measure(8, 1_000);
    measure(4096, 200);
  }

  private static void measure(int n, int calls) {
    DType type = DType.FLOAT32;
    NormPolicy policy = NormPolicy.PYTORCH;
    long plan =
        Capi.createPlan(
            NormKind.RMS_NORM.ordinal(),
            type.code(),
            type.code(),
            type.code(),
            Affine.WEIGHT.ordinal(),
            policy.scaleRounding().ordinal(),
            policy.gammaOffset().ordinal(),
            policy.variance().ordinal(),
            policy.compute().ordinal(),
            policy.residualRounding().ordinal(),
            VectorLevel.BEST.ordinal(),
            n,
            1e-5,
            Capi.DEVICE_CPU,
            0,
            Capi.SCALING_NONE,
            false,
            type.code());
    try (RmsNorm norm = RmsNorm.builder(n).input(type).policy(policy).threads(1).build();
        NativeBuffer memory = NativeBuffer.allocate(type, 6, n);
        Saved saved = norm.newSaved(1)) {
      TensorView all = memory.view(type, 6, n).copyFrom(Values.normal(1, 6L * n));
      TensorView x = all.rows(0, 1);
      TensorView weight = all.rows(1, 2).reshape(n);
      TensorView y = all.rows(2, 3);
      TensorView dy = all.rows(3, 4);
      TensorView dx = all.rows(4, 5);
      TensorView dweight = all.rows(5, 6).reshape(n);
      Operands operands = Operands.of(x, y).weight(weight);
      Gradients inputOnly = Gradients.of(dx);
      Gradients both = inputOnly.weight(dweight, GradientMode.WRITE);
      norm.forward(operands, saved);
      long rstd = saved.rstd().address();
      long groups = Capi.backwardGroups(plan, 1);
      long bytes = norm.backwardWorkspaceBytes(1, both);
      try (NativeBuffer workspace = NativeBuffer.allocate(bytes)) {
        List<Pair> pairs =
            List.of(
                new Pair(
                    "infer", () -> norm.infer(operands), () -> forward(plan, n, x, weight, y, 0)),
                new Pair(
                    "forward(reuse)",
                    () -> norm.forward(operands, saved),
                    () -> forward(plan, n, x, weight, y, rstd)),
                new Pair(
                    "backward, dx",
                    () -> norm.backward(saved, dy, inputOnly),
                    () -> backward(plan, groups, n, x, weight, dy, rstd, dx, null, 0)),
                new Pair(
                    "backward, dx and dweight",
                    () -> norm.backward(saved, dy, both),
                    () -> {
                      backward(plan, groups, n, x, weight, dy, rstd, dx, workspace, bytes);
                      columns(plan, n, workspace, bytes, dweight);
                    }));
        for (Pair pair : pairs) {
          print(n, calls, pair);
        }
      }
    } finally {
      Capi.destroyPlan(plan);
    }
  }

  private static void print(int n, int calls, Pair pair) {
    double[] java = new double[ROUNDS];
    double[] bare = new double[ROUNDS];
    for (int round = -WARM_UP; round < ROUNDS; round++) {
      double javaTime = time(pair.java, calls);
      double bareTime = time(pair.bare, calls);
      if (round >= 0) {
        java[round] = javaTime;
        bare[round] = bareTime;
      }
    }
    long allocated = allocatedBy(pair.java, calls) - allocatedBy(() -> {}, calls);
    double javaMedian = median(java);
    double bareMedian = median(bare);
    System.out.printf(
        "%-34s %10.1f %10.1f %10.1f %12.3f%n",
        "1 x " + n + ", " + pair.name,
        javaMedian,
        bareMedian,
        javaMedian - bareMedian,
        (double) allocated / calls);
  }

  private static double time(Runnable call, int calls) {
    long begin = System.nanoTime();
    for (int i = 0; i < calls; i++) {
      call.run();
    }
    return (double) (System.nanoTime() - begin) / calls;
  }

  private static long allocatedBy(Runnable call, int calls) {
    long begin = THREADS.getCurrentThreadAllocatedBytes();
    for (int i = 0; i < calls; i++) {
      call.run();
    }
    return THREADS.getCurrentThreadAllocatedBytes() - begin;
  }

  private static double median(double[] values) {
    Arrays.sort(values);
    return values[values.length / 2];
  }

  private static void forward(
      long plan, int n, TensorView x, TensorView weight, TensorView y, long rstd) {
    Capi.check(
        normcore.nc_norm_forward(
            plan,
            1,
            0,
            1,
            x.address(),
            n,
            0,
            0,
            weight.address(),
            0,
            y.address(),
            n,
            0,
            0,
            0,
            rstd));
  }

  private static void backward(
      long plan,
      long groups,
      int n,
      TensorView x,
      TensorView weight,
      TensorView dy,
      long rstd,
      TensorView dx,
      NativeBuffer workspace,
      long bytes) {
    Capi.check(
        normcore.nc_norm_backward(
            plan,
            1,
            0,
            groups,
            x.address(),
            n,
            weight.address(),
            dy.address(),
            n,
            0,
            rstd,
            0,
            0,
            dx.address(),
            n,
            workspace == null ? 0 : workspace.address(),
            bytes,
            workspace == null ? 0 : 1,
            0));
  }

  private static void columns(
      long plan, int n, NativeBuffer workspace, long bytes, TensorView dweight) {
    Capi.check(
        normcore.nc_norm_backward_columns(
            plan,
            1,
            0,
            n,
            workspace.address(),
            bytes,
            dweight.address(),
            dweight.dtype().code(),
            Capi.GRADIENT_WRITE,
            0,
            0,
            0));
  }
}
