package org.normcore.cli.audit;

import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;
import org.normcore.cli.BadInput;

/** Makes tensors that live as long as their views. */
final class Tensors {
  private Tensors() {}

  static TensorView empty(DType dtype, long... shape) {
    return NativeBuffer.allocate(dtype, shape).view(dtype, shape);
  }

  static TensorView of(float[] values, DType dtype, long... shape) {
    return empty(dtype, shape).copyFrom(values);
  }

  static TensorView converted(TensorView source, DType dtype) {
    return source.dtype() == dtype ? source : empty(dtype, source.shape()).copyFrom(source);
  }

  /** The number of elements of a matrix, which has to fit a Java array. */
  static int count(long rows, long hiddenSize) {
    if (rows > Integer.MAX_VALUE / Math.max(1, hiddenSize)) {
      throw new BadInput(
          "--rows is "
              + rows
              + ", expected at most "
              + Integer.MAX_VALUE / hiddenSize
              + " rows of "
              + hiddenSize);
    }
    return Math.toIntExact(rows * hiddenSize);
  }
}
