package org.normcore.cli.bench;

import java.util.Random;
import org.normcore.CudaBuffer;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.NativeBuffer;
import org.normcore.NormKind;
import org.normcore.Operands;
import org.normcore.OwnedMemory;
import org.normcore.TensorView;

/** The tensors of one measurement; freed together. */
final class BenchTensors implements AutoCloseable {
  private static final int PATTERN_ROWS = 64;

  private final OwnedMemory matrices;
  private final OwnedMemory vectors;
  private final DType dtype;
  private final long rows;
  private final long hiddenSize;
  private final boolean hasBias;

  private BenchTensors(
      OwnedMemory matrices,
      OwnedMemory vectors,
      DType dtype,
      long rows,
      long hiddenSize,
      boolean hasBias) {
    this.matrices = matrices;
    this.vectors = vectors;
    this.dtype = dtype;
    this.rows = rows;
    this.hiddenSize = hiddenSize;
    this.hasBias = hasBias;
  }

  /** Makes tensors in host memory with random contents. */
  static BenchTensors drawn(NormKind kind, DType dtype, long rows, long hiddenSize) {
    BenchTensors tensors =
        new BenchTensors(
            NativeBuffer.allocate(dtype, 4, rows, hiddenSize),
            NativeBuffer.allocate(dtype, 4, hiddenSize),
            dtype,
            rows,
            hiddenSize,
            kind == NormKind.LAYER_NORM);
    Random random = new Random(1);
    fill(random, tensors.vector(0).reshape(1, hiddenSize), 1);
    fill(random, tensors.vector(1).reshape(1, hiddenSize), 1);
    fill(random, tensors.matrix(0), PATTERN_ROWS);
    fill(random, tensors.matrix(1), PATTERN_ROWS);
    return tensors;
  }

  /** Returns copies of these host tensors in the memory of a stream's device. */
  BenchTensors copiedTo(CudaStream stream) {
    BenchTensors copy =
        new BenchTensors(
            CudaBuffer.allocate(stream.device(), dtype, 4, rows, hiddenSize),
            CudaBuffer.allocate(stream.device(), dtype, 4, hiddenSize),
            dtype,
            rows,
            hiddenSize,
            hasBias);
    for (int i = 0; i < 2; i++) {
      copy.matrix(i).copyFrom(matrix(i), stream);
      copy.vector(i).copyFrom(vector(i), stream);
    }
    stream.synchronize();
    return copy;
  }

  /** The first rows of x, weight, bias and y. */
  Operands operands(long count) {
    Operands operands =
        Operands.of(matrix(0).rows(0, count), matrix(2).rows(0, count)).weight(vector(0));
    return hasBias ? operands.bias(vector(1)) : operands;
  }

  TensorView dy(long count) {
    return matrix(1).rows(0, count);
  }

  Gradients gradients(long count) {
    Gradients gradients =
        Gradients.of(matrix(3).rows(0, count)).weight(vector(2), GradientMode.WRITE);
    return hasBias ? gradients.bias(vector(3), GradientMode.WRITE) : gradients;
  }

  private TensorView matrix(int index) {
    return matrices.view(index * rows * hiddenSize * dtype.bytes(), dtype, rows, hiddenSize);
  }

  private TensorView vector(int index) {
    return vectors.view(index * hiddenSize * dtype.bytes(), dtype, hiddenSize);
  }

  /** Fills a matrix with random numbers that repeat after some rows. */
  static void fill(Random random, TensorView view) {
    fill(random, view, PATTERN_ROWS);
  }

  private static void fill(Random random, TensorView view, int distinctRows) {
    long rows = view.size(0);
    int length = Math.toIntExact(view.size(1));
    float[] values = new float[length];
    for (long row = 0; row < rows; row++) {
      if (row < distinctRows) {
        for (int i = 0; i < length; i++) {
          values[i] = (float) random.nextGaussian();
        }
        view.rows(row, row + 1).copyFrom(values);
      } else {
        long from = row % distinctRows;
        view.rows(row, row + 1).copyFrom(view.rows(from, from + 1));
      }
    }
  }

  @Override
  public void close() {
    matrices.close();
    vectors.close();
  }
}
