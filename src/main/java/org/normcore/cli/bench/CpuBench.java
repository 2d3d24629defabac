package org.normcore.cli.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Gradients;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.Saved;
import org.normcore.TensorView;

/**
 * Benchmarks on the CPU: calls alternate with copies between their own tensors, with all threads
 * and with one.
 */
final class CpuBench implements Bench {
  /** The maximum bytes per tensor of the cached rows. */
  private static final long CACHED_BYTES = 128 << 10;

  private final NormPolicy policy;
  private final int threads;
  private final Rounds rounds;
  private final Rounds shortRounds;
  private final double dispatchNanos;

  CpuBench(NormPolicy policy, int threads, double seconds) {
    this.policy = policy;
    this.threads = threads;
    this.rounds = new Rounds(seconds, seconds / 4);
    // Short calls need thousands of warm-up runs until they are compiled.
    this.shortRounds = new Rounds(seconds / 4, seconds / 4);
    this.dispatchNanos = new HostCopy(threads).dispatchNanos();
  }

  /** The time to wake the other threads. */
  double dispatchNanos() {
    return dispatchNanos;
  }

  @Override
  public List<BenchCase> runOther(BenchOp op, DType dtype, long rows, long hiddenSize) {
    int most = op.isShared() ? threads : 1;
    try (BenchWork work = BenchWork.of(op, dtype, rows, hiddenSize, Device.CPU, null, most, 1)) {
      List<BenchWork.Call> calls = work.calls();
      List<Runnable> all = new ArrayList<>();
      List<Runnable> alone = new ArrayList<>();
      List<Runnable> oneRow = new ArrayList<>();
      for (BenchWork.Call call : calls) {
        all.add(() -> call.onAll().accept(0));
        alone.add(call.onAllAlone());
        oneRow.add(call.onOne());
      }
      Turns turns = measure(most, all, alone, oneRow, work.tensors().x(), work.tensors().y());
      List<BenchCase> cases = new ArrayList<>();
      for (int i = 0; i < calls.size(); i++) {
        BenchWork.Call call = calls.get(i);
        CpuFigures figures = turns.figures(i, call.bytes(), Optional.empty());
        cases.add(BenchCase.onCpu(op, call.direction(), dtype, rows, hiddenSize, figures));
      }
      return cases;
    }
  }

  @Override
  public List<BenchCase> run(NormKind kind, DType dtype, long rows, long hiddenSize) {
    long rowBytes = hiddenSize * dtype.bytes();
    long few = Math.max(1, Math.min(rows, CACHED_BYTES / rowBytes));
    try (BenchTensors tensors = BenchTensors.drawn(kind, dtype, rows, hiddenSize);
        Norm norm = Bench.norm(kind, dtype, hiddenSize, policy, Device.CPU, threads);
        Norm alone = Bench.norm(kind, dtype, hiddenSize, policy, Device.CPU, 1);
        NormCalls onAll = new NormCalls(norm, tensors, rows);
        NormCalls onAllAlone = new NormCalls(alone, tensors, rows);
        NormCalls onFew = new NormCalls(alone, tensors, few);
        NormCalls onOne = new NormCalls(alone, tensors, 1);
        BenchTensors smallest = BenchTensors.drawn(kind, dtype, 1, 1);
        Norm ofOne = Bench.norm(kind, dtype, 1, policy, Device.CPU, 1);
        NormCalls onElement = new NormCalls(ofOne, smallest, 1)) {
      Operands operands = tensors.operands(rows);
      Turns turns =
          measure(
              threads, onAll.list(), onAllAlone.list(), onOne.list(), operands.x(), operands.y());
      List<Runnable> inCache = new ArrayList<>(onFew.list());
      inCache.addAll(onElement.list());
      List<Samples> cached = shortRounds.measure(inCache);
      HostCopy sharing = new HostCopy(threads);
      long workspace = norm.backwardWorkspaceBytes(rows, tensors.gradients(rows));
      List<BenchCase> cases = new ArrayList<>();
      for (int i = 0; i < NormCalls.DIRECTIONS.size(); i++) {
        String direction = NormCalls.DIRECTIONS.get(i);
        boolean backward = direction.equals("backward");
        long bytes = (backward ? 3 : 2) * rows * rowBytes;
        int sharers = (int) Math.min(rows, sharing.threadsFor(bytes));
        int steps = (sharers > 1 ? 1 : 0) + (backward && sharing.threadsFor(workspace) > 1 ? 1 : 0);
        double call = cached.get(NormCalls.DIRECTIONS.size() + i).median();
        double compute =
            Math.max(0, cached.get(i).median() - call) * rows / few / Math.max(1, sharers);
        double total = turns.all.get(i).median();
        TimeSpent spent = TimeSpent.of(total, call, steps * dispatchNanos, compute);
        cases.add(
            BenchCase.onCpu(
                BenchOp.of(kind),
                direction,
                dtype,
                rows,
                hiddenSize,
                turns.figures(i, bytes, Optional.of(spent))));
      }
      return cases;
    }
  }

  /** Measures calls and copies in the same rounds, then the calls on one row. */
  private Turns measure(
      int most,
      List<Runnable> all,
      List<Runnable> alone,
      List<Runnable> oneRow,
      TensorView x,
      TensorView y) {
    List<Runnable> tasks = new ArrayList<>(all);
    addCopies(tasks, new HostCopy(most), x, y);
    if (most > 1) {
      tasks.addAll(alone);
      addCopies(tasks, new HostCopy(1), x, y);
    }
    long copyBytes = 2 * x.elements() * x.dtype().bytes();
    List<Samples> samples = rounds.measure(tasks);
    int count = all.size() + 2;
    return new Turns(
        most,
        copyBytes,
        samples.subList(0, count),
        samples.subList(most > 1 ? count : 0, samples.size()),
        shortRounds.measure(oneRow));
  }

  private static void addCopies(
      List<Runnable> tasks, HostCopy copy, TensorView from, TensorView to) {
    tasks.add(copy.of(from, to, false));
    tasks.add(copy.of(from, to, true));
  }

  /** The times of calls, followed by those of the two copies; with all threads and with one. */
  private record Turns(
      int threads, long copyBytes, List<Samples> all, List<Samples> alone, List<Samples> oneRow) {

    CpuFigures figures(int call, long bytes, Optional<TimeSpent> spent) {
      Optional<Throughput> one =
          threads == 1 ? Optional.empty() : Optional.of(throughput(1, alone, call, bytes));
      return new CpuFigures(throughput(threads, all, call, bytes), one, oneRow.get(call), spent);
    }

    private Throughput throughput(int with, List<Samples> samples, int call, long bytes) {
      int copies = samples.size() - 2;
      return new Throughput(
          with, bytes, copyBytes, samples.get(call), samples.get(copies), samples.get(copies + 1));
    }
  }

  /**
   * The calls of a norm on {@code rows} rows; the forward comes before the backward, which needs
   * its results.
   */
  private static final class NormCalls implements AutoCloseable {
    static final List<String> DIRECTIONS = List.of("infer", "forward", "backward");

    private final Saved saved;
    private final List<Runnable> list;

    NormCalls(Norm norm, BenchTensors tensors, long rows) {
      this.saved = norm.newSaved(rows);
      Operands operands = tensors.operands(rows);
      TensorView dy = tensors.dy(rows);
      Gradients gradients = tensors.gradients(rows);
      this.list =
          List.of(
              () -> norm.infer(operands),
              () -> norm.forward(operands, saved),
              () -> norm.backward(saved, dy, gradients));
    }

    List<Runnable> list() {
      return list;
    }

    @Override
    public void close() {
      saved.close();
    }
  }
}
