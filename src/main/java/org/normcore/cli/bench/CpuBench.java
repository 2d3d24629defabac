package org.normcore.cli.bench;

import java.util.ArrayList;
import java.util.List;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Gradients;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.Saved;
import org.normcore.TensorView;

/** On the CPU: each call is timed. */
final class CpuBench implements Bench {
  private final NormPolicy policy;
  private final int threads;
  private final Stopwatch stopwatch;

  CpuBench(NormPolicy policy, int threads, Stopwatch stopwatch) {
    this.policy = policy;
    this.threads = threads;
    this.stopwatch = stopwatch;
  }

  @Override
  public List<BenchCase> runOther(BenchOp op, DType dtype, long rows, long hiddenSize) {
    List<BenchCase> cases = new ArrayList<>();
    try (BenchWork work = BenchWork.of(op, dtype, rows, hiddenSize, Device.CPU, null, threads, 1)) {
      double copy = CopyBandwidth.measure(rows * hiddenSize * dtype.bytes(), threads, stopwatch);
      for (BenchWork.Call call : work.calls()) {
        cases.add(
            new BenchCase(
                op,
                call.direction(),
                dtype,
                rows,
                hiddenSize,
                stopwatch.median(() -> call.onAll().accept(0)),
                stopwatch.median(call.onOne()),
                call.bytes(),
                copy));
      }
    }
    return cases;
  }

  @Override
  public List<BenchCase> run(NormKind kind, DType dtype, long rows, long hiddenSize) {
    double copy = CopyBandwidth.measure(rows * hiddenSize * dtype.bytes(), threads, stopwatch);
    try (BenchTensors tensors = BenchTensors.drawn(kind, dtype, rows, hiddenSize);
        Norm norm = Bench.norm(kind, dtype, hiddenSize, policy, Device.CPU, threads);
        Norm alone = Bench.norm(kind, dtype, hiddenSize, policy, Device.CPU, 1);
        Saved saved = norm.newSaved(rows);
        Saved savedRow = alone.newSaved(1)) {
      Operands all = tensors.operands(rows);
      Operands row = tensors.operands(1);
      TensorView dy = tensors.dy(rows);
      TensorView dyRow = tensors.dy(1);
      Gradients gradients = tensors.gradients(rows);
      Gradients gradientsRow = tensors.gradients(1);
      // In this order, so that the backward finds what the forward saved.
      double[] infer = {
        stopwatch.median(() -> norm.infer(all)), stopwatch.median(() -> alone.infer(row))
      };
      double[] forward = {
        stopwatch.median(() -> norm.forward(all, saved)),
        stopwatch.median(() -> alone.forward(row, savedRow))
      };
      double[] backward = {
        stopwatch.median(() -> norm.backward(saved, dy, gradients)),
        stopwatch.median(() -> alone.backward(savedRow, dyRow, gradientsRow))
      };
      return BenchCase.all(kind, dtype, rows, hiddenSize, infer, forward, backward, copy);
    }
  }
}
