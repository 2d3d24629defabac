package org.normcore.cli.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.Gradients;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.cli.NormRequest;

/** Measures one norm in one type and shape, in all directions. */
final class Bench {
  private final NormPolicy policy;
  private final int threads;
  private final Stopwatch stopwatch;

  Bench(NormPolicy policy, int threads, Stopwatch stopwatch) {
    this.policy = policy;
    this.threads = threads;
    this.stopwatch = stopwatch;
  }

  List<BenchCase> run(NormKind kind, DType dtype, long rows, long hiddenSize) {
    List<BenchCase> cases = new ArrayList<>();
    long tensor = rows * hiddenSize * dtype.bytes();
    double copy = CopyBandwidth.measure(tensor, threads, stopwatch);
    try (BenchTensors tensors = new BenchTensors(kind, dtype, rows, hiddenSize);
        Norm norm = norm(kind, dtype, hiddenSize, threads);
        Norm alone = norm(kind, dtype, hiddenSize, 1);
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
      cases.add(
          new BenchCase(
              kind, "infer", dtype, rows, hiddenSize, infer[0], infer[1], 2 * tensor, copy));
      cases.add(
          new BenchCase(
              kind, "forward", dtype, rows, hiddenSize, forward[0], forward[1], 2 * tensor, copy));
      cases.add(
          new BenchCase(
              kind,
              "backward",
              dtype,
              rows,
              hiddenSize,
              backward[0],
              backward[1],
              3 * tensor,
              copy));
    }
    return cases;
  }

  private Norm norm(NormKind kind, DType dtype, long hiddenSize, int threadCount) {
    Affine affine = kind == NormKind.LAYER_NORM ? Affine.WEIGHT_AND_BIAS : Affine.WEIGHT;
    return new NormRequest(
            kind,
            new long[] {hiddenSize},
            1e-5,
            dtype,
            dtype,
            Optional.empty(),
            affine,
            policy,
            threadCount)
        .open();
  }
}
