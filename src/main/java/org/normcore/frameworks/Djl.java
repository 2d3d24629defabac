package org.normcore.frameworks;

import static com.google.common.base.Preconditions.checkArgument;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import java.nio.ByteBuffer;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.TensorView;

/**
 * DJL's arrays as tensors, without a copy, for engines whose arrays lend out their memory: the
 * PyTorch engine does. Tested with DJL 0.35.1 and its PyTorch engine.
 *
 * <pre>{@code
 * try (NDManager manager = NDManager.newBaseManager("PyTorch")) {
 *   NDArray x = manager.randomNormal(new Shape(8, 4096));
 *   NDArray y = manager.create(x.getShape());
 *   norm.infer(view(x), view(weight), view(y));
 * }
 * }</pre>
 */
public final class Djl {
  private Djl() {}

  /**
   * Returns a view of an array's memory, of its shape. The view is for writing as well; arrays that
   * share memory with it see what is written.
   *
   * <p>DJL tells nothing about strides, and gives a copy in place of the memory where an array is
   * not contiguous. Such arrays are refused: a copy would be read, but never written back. {@code
   * array.flatten().reshape(array.getShape())} makes a contiguous copy, of which there is a view.
   *
   * <p>The array stays reachable with the view. Once it has been closed, by itself or with its
   * manager, operations on the view are refused.
   *
   * @throws IllegalArgumentException if the array is null, closed, sparse, not contiguous or not on
   *     the CPU, of another type than {@code FLOAT64}, {@code FLOAT32}, {@code FLOAT16} and {@code
   *     BFLOAT16}, or if its engine does not lend out its memory
   */
  public static TensorView view(NDArray array) {
    checkArgument(array != null, "array: null; expected an NDArray");
    checkArgument(!array.isReleased(), "array: closed; expected an open one");
    DType dtype = dtype(array);
    checkArgument(
        !array.isSparse(), "array: sparse; expected a dense one, such as array.toDense makes");
    checkArgument(
        array.getDevice().equals(ai.djl.Device.cpu()),
        "array: on %s; expected cpu(), for DJL tells no other address",
        array.getDevice());
    long[] shape = array.getShape().getShape();
    if (array.size() == 0) {
      return TensorView.ofAddress(0, dtype, Device.CPU, shape).withOwner(array);
    }
    return TensorView.of(
        new TensorMemory(address(array, dtype, shape), array::isReleased), dtype, shape);
  }

  private static DType dtype(NDArray array) {
    // Not by DataType.fromBuffer, which takes every ShortBuffer for FLOAT16.
    return switch (array.getDataType()) {
      case FLOAT64 -> DType.FLOAT64;
      case FLOAT32 -> DType.FLOAT32;
      case FLOAT16 -> DType.FLOAT16;
      case BFLOAT16 -> DType.BFLOAT16;
      default ->
          throw new IllegalArgumentException(
              "array: of type "
                  + array.getDataType().name()
                  + "; expected FLOAT64, FLOAT32, FLOAT16 or BFLOAT16, such as array.toType gives");
    };
  }

  private static long address(NDArray array, DType dtype, long[] shape) {
    // Closes the copies that an array makes of itself if it is not contiguous.
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      ByteBuffer memory = array.toByteBuffer(true);
      ByteBuffer again = array.toByteBuffer(true);
      checkArgument(
          memory.isDirect() && again.isDirect(),
          "array: its engine, %s, copies it to the Java heap; expected one that lends out its memory,"
              + " such as PyTorch",
          array.getManager().getEngine().getEngineName());
      TensorView view = TensorView.of(memory, dtype, shape);
      // Two copies are in two places.
      checkArgument(
          view.address() == TensorView.of(again, dtype, shape).address(),
          "array: %s is not contiguous; expected one that is: array.flatten().reshape("
              + "array.getShape()) is a copy that is",
          array.getShape());
      return view.address();
    }
  }
}
