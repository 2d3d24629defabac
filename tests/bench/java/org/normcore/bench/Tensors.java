package org.normcore.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;

/**
 * The tensors of a measurement, the same for every contender: normally distributed inputs and
 * memory for results.
 */
final class Tensors implements AutoCloseable {
  static final double EPSILON = 1e-5;

  /** The number of random elements; larger tensors repeat their rows. */
  private static final long DRAWN_ELEMENTS = 1 << 20;

  /** Keeps the random numbers out of float16's subnormal range, where some machines are slow. */
  private static final float SMALLEST = 1e-3f;

  private final List<NativeBuffer> buffers = new ArrayList<>();
  private final Random random = new Random(1);

  private final TensorView x;
  private final TensorView residual;
  private final TensorView dy;
  private final TensorView weight;
  private final TensorView bias;
  private final TensorView y;
  private final TensorView sum;
  private final TensorView dx;
  private final TensorView dweight;
  private final TensorView dbias;
  private final TensorView statistics;

  Tensors(Shape shape, DType dtype, DType weightType) {
    long[] matrix = {shape.rows(), shape.hiddenSize()};
    long[] vector = {shape.hiddenSize()};
    this.x = drawn(dtype, matrix, 0, 1);
    this.residual = drawn(dtype, matrix, 0, 1);
    this.dy = drawn(dtype, matrix, 0, 1);
    this.weight = drawn(weightType, vector, 1, 0.25f);
    this.bias = drawn(weightType, vector, 0, 0.25f);
    this.y = result(dtype, matrix);
    this.sum = result(dtype, matrix);
    this.dx = result(dtype, matrix);
    this.dweight = result(weightType, vector);
    this.dbias = result(weightType, vector);
    this.statistics = result(DType.FLOAT32, 2, shape.rows());
  }

  TensorView x() {
    return x;
  }

  TensorView residual() {
    return residual;
  }

  TensorView dy() {
    return dy;
  }

  TensorView weight() {
    return weight;
  }

  TensorView bias() {
    return bias;
  }

  TensorView y() {
    return y;
  }

  TensorView sum() {
    return sum;
  }

  TensorView dx() {
    return dx;
  }

  TensorView dweight() {
    return dweight;
  }

  TensorView dbias() {
    return dbias;
  }

  /** Memory for one number per row. */
  TensorView statistic(int index) {
    return statistics.rows(index, index + 1).reshape(statistics.size(1));
  }

  private TensorView result(DType dtype, long... shape) {
    NativeBuffer buffer = NativeBuffer.allocate(dtype, shape).zero();
    buffers.add(buffer);
    return buffer.view(dtype, shape);
  }

  private TensorView drawn(DType dtype, long[] shape, float centre, float spread) {
    TensorView view = result(dtype, shape);
    int length = (int) shape[shape.length - 1];
    TensorView matrix = view.reshape(view.elements() / length, length);
    long rows = matrix.size(0);
    long distinct = Math.min(rows, DRAWN_ELEMENTS / length + 1);
    float[] values = new float[length];
    for (long row = 0; row < distinct; row++) {
      for (int i = 0; i < length; i++) {
        values[i] = centre + spread * normal();
      }
      matrix.rows(row, row + 1).copyFrom(values);
    }
    for (long row = distinct; row < rows; row += distinct) {
      long count = Math.min(distinct, rows - row);
      matrix.rows(row, row + count).copyFrom(matrix.rows(0, count));
    }
    return view;
  }

  private float normal() {
    float value = (float) random.nextGaussian();
    return Math.abs(value) < SMALLEST ? Math.copySign(SMALLEST, value) : value;
  }

  @Override
  public void close() {
    buffers.forEach(NativeBuffer::close);
  }
}
