package org.normcore.cli.bench;

import java.util.ArrayList;
import java.util.List;
import org.normcore.Cuda;
import org.normcore.CudaStream;
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
 * Benchmarks on a CUDA device: many calls in a stream are timed together. Calls rotate through
 * several sets of tensors, so that they read from the device's memory and not from its cache.
 */
final class CudaBench implements Bench {
  /** The minimum bytes of x and y of all sets: several times the largest cache of any device. */
  private static final long ROTATED_BYTES = 512L << 20;

  private static final int MOST_SETS = 64;

  private final NormPolicy policy;
  private final Device device;
  private final double seconds;

  CudaBench(NormPolicy policy, Device device, double seconds) {
    this.policy = policy;
    this.device = device;
    this.seconds = seconds;
  }

  @Override
  public List<BenchCase> runOther(BenchOp op, DType dtype, long rows, long hiddenSize) {
    long tensor = rows * hiddenSize * dtype.bytes();
    int sets = sets(tensor);
    List<BenchCase> cases = new ArrayList<>();
    try (CudaStream stream = CudaStream.create(device);
        BenchWork work = BenchWork.of(op, dtype, rows, hiddenSize, device, stream, 1, sets)) {
      StreamStopwatch stopwatch = new StreamStopwatch(stream, seconds);
      double copy = 2 * tensor / stopwatch.median(i -> work.copy(i % sets)) * 1e9;
      for (BenchWork.Call call : work.calls()) {
        cases.add(
            BenchCase.onDevice(
                op,
                call.direction(),
                dtype,
                rows,
                hiddenSize,
                stopwatch.median(i -> call.onAll().accept(i % sets)),
                stopwatch.median(i -> call.onOne().run()),
                call.bytes(),
                copy));
      }
    }
    return cases;
  }

  @Override
  public List<BenchCase> run(NormKind kind, DType dtype, long rows, long hiddenSize) {
    long tensor = rows * hiddenSize * dtype.bytes();
    List<Turn> turns = new ArrayList<>();
    try (CudaStream stream = CudaStream.create(device);
        Norm norm = Bench.norm(kind, dtype, hiddenSize, policy, device, 1)) {
      try (BenchTensors drawn = BenchTensors.drawn(kind, dtype, rows, hiddenSize);
          Saved savedRow = norm.newSaved(1)) {
        int sets = sets(tensor);
        for (int i = 0; i < sets; i++) {
          turns.add(new Turn(norm, drawn, rows, stream));
        }
        Turn first = turns.get(0);
        Operands row = first.tensors.operands(1).stream(stream);
        TensorView dyRow = first.tensors.dy(1);
        Gradients gradientsRow = first.tensors.gradients(1).stream(stream);
        StreamStopwatch stopwatch = new StreamStopwatch(stream, seconds);
        double copy = 2 * tensor / stopwatch.median(i -> turns.get(i % sets).copy(stream)) * 1e9;
        double[] infer = {
          stopwatch.median(i -> norm.infer(turns.get(i % sets).operands)),
          stopwatch.median(i -> norm.infer(row))
        };
        double[] forward = {
          stopwatch.median(i -> turns.get(i % sets).forward(norm)),
          stopwatch.median(i -> norm.forward(row, savedRow))
        };
        turns.forEach(turn -> turn.forward(norm));
        double[] backward = {
          stopwatch.median(i -> turns.get(i % sets).backward(norm)),
          stopwatch.median(i -> norm.backward(savedRow, dyRow, gradientsRow))
        };
        return BenchCase.allOnDevice(kind, dtype, rows, hiddenSize, infer, forward, backward, copy);
      } finally {
        turns.forEach(Turn::close);
      }
    }
  }

  /**
   * The number of sets: enough bytes to exceed the cache, but at most half of the device's memory.
   */
  private int sets(long tensor) {
    long wanted = ROTATED_BYTES / Math.max(1, 2 * tensor) + 1;
    long fitting = Cuda.device(device).memoryBytes() / 2 / Math.max(1, 4 * tensor);
    return (int) Math.max(1, Math.min(MOST_SETS, Math.min(wanted, fitting)));
  }

  /** One set of tensors and its saved state. */
  private static final class Turn implements AutoCloseable {
    private final BenchTensors tensors;
    private final Saved saved;
    private final Operands operands;
    private final TensorView dy;
    private final Gradients gradients;

    Turn(Norm norm, BenchTensors drawn, long rows, CudaStream stream) {
      this.tensors = drawn.copiedTo(stream);
      this.saved = norm.newSaved(rows);
      this.operands = tensors.operands(rows).stream(stream);
      this.dy = tensors.dy(rows);
      this.gradients = tensors.gradients(rows).stream(stream);
    }

    void copy(CudaStream stream) {
      operands.y().copyFrom(operands.x(), stream);
    }

    void forward(Norm norm) {
      norm.forward(operands, saved);
    }

    void backward(Norm norm) {
      norm.backward(saved, dy, gradients);
    }

    @Override
    public void close() {
      saved.close();
      tensors.close();
    }
  }
}
