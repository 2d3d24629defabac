package org.normcore.cli.bench;

import java.util.List;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;

/**
 * The calls of an operation other than a norm, on several sets of tensors of {@code rows} times
 * {@code hidden} elements in rotation.
 */
interface BenchWork extends AutoCloseable {
  /**
   * One call.
   *
   * @param direction its name
   * @param bytes the minimum bytes read and written
   * @param onAll the call on all rows of a set
   * @param onAllAlone the call on all rows of the first set, on the CPU in one thread
   * @param onOne the call on one row
   */
  record Call(
      String direction, long bytes, IntConsumer onAll, Runnable onAllAlone, Runnable onOne) {}

  /** The calls, in the order in which they are measured. */
  List<Call> calls();

  /** The input and output of the first set. */
  WorkTensors tensors();

  /** Copies the input of a set to its output, in the stream. */
  void copy(int set);

  @Override
  void close();

  /** The work of an operation; on a CUDA device in a stream. */
  static BenchWork of(
      BenchOp op,
      DType dtype,
      long rows,
      long hiddenSize,
      Device device,
      @Nullable CudaStream stream,
      int threads,
      int sets) {
    return op == BenchOp.ROTARY
        ? new RotaryWork(dtype, rows, hiddenSize, device, stream, threads, sets)
        : new Fp8Work(dtype, rows, hiddenSize, device, stream, sets);
  }
}
