package org.normcore.cli.audit;

import java.util.ArrayList;
import java.util.List;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;
import org.normcore.cli.BadInput;

/**
 * Tensors that are freed together. The garbage collector does not see their native memory, so the
 * results of many norms would exhaust it.
 */
final class Arena implements AutoCloseable {
  /** JVMs limit arrays to slightly fewer elements than Integer.MAX_VALUE. */
  private static final long LARGEST_ARRAY = Integer.MAX_VALUE - 8;

  private final List<NativeBuffer> buffers = new ArrayList<>();

  TensorView empty(DType dtype, long... shape) {
    NativeBuffer buffer = NativeBuffer.allocate(dtype, shape);
    buffers.add(buffer);
    return buffer.view(dtype, shape);
  }

  TensorView of(float[] values, DType dtype, long... shape) {
    return empty(dtype, shape).copyFrom(values);
  }

  TensorView converted(TensorView source, DType dtype) {
    return source.dtype() == dtype ? source : empty(dtype, source.shape()).copyFrom(source);
  }

  /** The number of elements of a matrix, which must fit a Java array. */
  static int count(long rows, long hiddenSize) {
    if (rows > LARGEST_ARRAY / Math.max(1, hiddenSize)) {
      throw new BadInput(
          "--rows is "
              + rows
              + ", expected at most "
              + LARGEST_ARRAY / hiddenSize
              + " rows of "
              + hiddenSize);
    }
    return Math.toIntExact(rows * hiddenSize);
  }

  @Override
  public void close() {
    buffers.forEach(NativeBuffer::close);
    buffers.clear();
  }
}
