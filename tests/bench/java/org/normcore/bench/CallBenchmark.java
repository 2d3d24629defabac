package org.normcore.bench;

import java.util.concurrent.TimeUnit;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.NativeBuffer;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.VectorLevel;
import org.normcore.internal.CallContext;
import org.normcore.internal.CallContextPool;
import org.normcore.internal.Capi;
import org.normcore.internal.Codes;
import org.normcore.internal.Fields;
import org.normcore.internal.NormPlan;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * A call through the Java interface, and the equivalent calls of the generated binding with the
 * same addresses. Runs in a separate process.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class CallBenchmark {
  private static final DType TYPE = DType.FLOAT32;

  /** A {@link Direction}. */
  @Param("forward")
  public String direction;

  /** A {@link Shape}. */
  @Param("1x8")
  public String shape;

  /** The maximum number of threads of the norm. */
  @Param("1")
  public int threads;

  private Direction parsed;
  private Tensors tensors;
  private long rows;
  private long n;
  private Norm norm;
  private Saved saved;
  private Operands operands;
  private Gradients gradients;
  private long plan;
  private CallContext context;
  private NativeBuffer workspace;

  /** Prepares both sides. */
  @Setup(Level.Trial)
  public void begin() {
    parsed = Names.parse(Direction.class, direction);
    Shape size = Shape.parse(shape);
    rows = size.rows();
    n = size.hiddenSize();
    tensors = new Tensors(size, TYPE, TYPE);
    norm =
        RmsNorm.builder(n)
            .epsilon(Tensors.EPSILON)
            .input(TYPE)
            .policy(NormPolicy.PYTORCH)
            .threads(threads)
            .build();
    saved = norm.newSaved(rows);
    operands = Operands.of(tensors.x(), tensors.y()).weight(tensors.weight());
    gradients = Gradients.of(tensors.dx()).weight(tensors.dweight(), GradientMode.WRITE);
    norm.forward(operands, saved);
    plan = plan(n);
    context = new CallContextPool(1, Runnable::run).take();
    workspace = NativeBuffer.allocate(norm.backwardWorkspaceBytes(rows, gradients));
  }

  private static long plan(long n) {
    return new NormPlan(NormKind.RMS_NORM, Affine.WEIGHT, n, Tensors.EPSILON)
        .dtypes(TYPE, TYPE, TYPE, TYPE)
        .policy(NormPolicy.PYTORCH)
        .scaling(null, false)
        .on(Device.CPU, VectorLevel.BEST)
        .create();
  }

  /** Frees both. */
  @TearDown(Level.Trial)
  public void end() {
    workspace.close();
    NormPlan.destroy(plan);
    saved.close();
    norm.close();
    tensors.close();
  }

  /** Measures the interface. */
  @Benchmark
  public void java() {
    switch (parsed) {
      case INFERENCE -> norm.infer(operands);
      case FORWARD -> norm.forward(operands, saved);
      case BACKWARD -> norm.backward(saved, tensors.dy(), gradients);
      default -> throw new IllegalArgumentException(direction);
    }
  }

  /** Measures the binding. */
  @Benchmark
  public void bare() {
    switch (parsed) {
      case INFERENCE -> forward(0);
      case FORWARD -> forward(saved.rstd().address());
      case BACKWARD -> backward();
      default -> throw new IllegalArgumentException(direction);
    }
  }

  private void forward(long rstd) {
    Capi.check(
        context
            .call
            .forward(plan, rows)
            .setMatrix(Fields.Forward.X, tensors.x().address(), n)
            .set(Fields.Forward.WEIGHT, tensors.weight().address())
            .setMatrix(Fields.Forward.Y, tensors.y().address(), n)
            .set(Fields.Forward.RSTD, rstd)
            .run());
  }

  private void backward() {
    Capi.check(
        context
            .call
            .backward(plan, rows)
            .setMatrix(Fields.Backward.X, tensors.x().address(), n)
            .set(Fields.Backward.WEIGHT, tensors.weight().address())
            .setMatrix(Fields.Backward.DY, tensors.dy().address(), n)
            .set(Fields.Backward.RSTD, saved.rstd().address())
            .setMatrix(Fields.Backward.DX, tensors.dx().address(), n)
            .set(Fields.Backward.WORKSPACE, workspace.address())
            .set(Fields.Backward.WORKSPACE_BYTES, workspace.bytes())
            .set(Fields.Backward.DWEIGHT, tensors.dweight().address())
            .setInt(Fields.Backward.DWEIGHT_DTYPE, TYPE.code())
            .setInt(Fields.Backward.DWEIGHT_MODE, Codes.of(GradientMode.WRITE))
            .run());
  }
}
