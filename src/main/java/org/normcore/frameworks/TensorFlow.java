package org.normcore.frameworks;

import static com.google.common.base.Preconditions.checkArgument;

import java.nio.ByteBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.TensorView;
import org.tensorflow.RawTensor;
import org.tensorflow.SparseTensor;
import org.tensorflow.ndarray.buffer.ByteDataBuffer;
import org.tensorflow.ndarray.buffer.DataStorageVisitor;
import org.tensorflow.types.TBfloat16;
import org.tensorflow.types.TFloat16;
import org.tensorflow.types.TFloat32;
import org.tensorflow.types.TFloat64;
import org.tensorflow.types.family.TType;

/**
 * Zero-copy views of TensorFlow Java tensors. Tested with TensorFlow Java 1.1.0.
 *
 * <pre>{@code
 * try (TFloat32 x = tf.math.tanh(hidden).asTensor();
 *     TFloat32 y = TFloat32.tensorOf(x.shape())) {
 *   norm.infer(view(x), view(weight), view(y));
 * }
 * }</pre>
 */
public final class TensorFlow {
  private TensorFlow() {}

  /**
   * Returns a view of a tensor's memory, with the tensor's shape. TensorFlow's tensors are always
   * contiguous.
   *
   * <p>TensorFlow treats tensors as immutable, and results of operations may share memory. Write
   * only to a new tensor from {@code tensorOf} that no operation has used yet.
   *
   * <p>The view keeps the tensor reachable. After the tensor or its eager session is closed,
   * operations on the view throw.
   *
   * @throws IllegalArgumentException if the tensor is null, closed or sparse, or if its type is not
   *     {@code TFloat64}, {@code TFloat32}, {@code TFloat16} or {@code TBfloat16}
   */
  public static TensorView view(TType tensor) {
    checkArgument(tensor != null, "tensor: null; expected a TType");
    DType dtype = dtype(tensor);
    checkArgument(
        !(tensor instanceof SparseTensor),
        "tensor: sparse; expected a dense tensor; use tf.sparse.sparseToDense");
    RawTensor raw = tensor.asRawTensor();
    checkArgument(!isFreed(tensor), "tensor: closed; expected an open tensor");
    long[] shape = raw.shape().asArray();
    if (raw.shape().size() == 0) {
      return TensorView.ofAddress(0, dtype, Device.CPU, shape).withOwner(tensor);
    }
    return TensorView.of(
        new TensorMemory(address(raw.data()), () -> isFreed(tensor)), dtype, shape);
  }

  private static DType dtype(TType tensor) {
    // One type per format: a width of 16 bits does not determine the format.
    if (tensor instanceof TFloat64) {
      return DType.FLOAT64;
    } else if (tensor instanceof TFloat32) {
      return DType.FLOAT32;
    } else if (tensor instanceof TFloat16) {
      return DType.FLOAT16;
    } else if (tensor instanceof TBfloat16) {
      return DType.BFLOAT16;
    }
    throw new IllegalArgumentException(
        "tensor: of type "
            + tensor.type().getSimpleName()
            + "; expected TFloat64, TFloat32, TFloat16 or TBfloat16; use tf.dtypes.cast");
  }

  private static boolean isFreed(TType tensor) {
    try {
      tensor.asRawTensor().numBytes();
      return false;
    } catch (IllegalStateException closed) {
      return true;
    }
  }

  /**
   * Returns the address of a buffer; TensorFlow maps its memory directly or, without Unsafe, by
   * NIO.
   */
  static long address(ByteDataBuffer buffer) {
    return buffer.accept(
        new DataStorageVisitor<Long>() {
          @Override
          public Long visit(long address, long length, long scale) {
            return address;
          }

          @Override
          public Long visit(ByteBuffer bytes) {
            return bytes.isDirect() ? new BytePointer(bytes).address() : fallback();
          }

          @Override
          public Long fallback() {
            throw new IllegalArgumentException(
                "tensor: its memory is on the Java heap; expected TensorFlow's own memory");
          }
        });
  }
}
