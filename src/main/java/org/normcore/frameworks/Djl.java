package org.normcore.frameworks;

import static com.google.common.base.Preconditions.checkArgument;

import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDScope;
import java.nio.ByteBuffer;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.TensorView;

/**
 * Zero-copy views of DJL arrays, for engines that expose the memory of an array, as the PyTorch
 * engine does. Tested with DJL 0.35.1 and its PyTorch engine.
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
   * Returns a view of an array's memory, with the array's shape. The view is writable; arrays that
   * share the memory see the writes.
   *
   * <p>DJL does not expose strides and returns a copy if an array is not contiguous. Such arrays
   * are rejected, because writes to the copy would be lost. {@code
   * array.flatten().reshape(array.getShape())} makes a contiguous copy that can be viewed.
   *
   * <p>The view keeps the array reachable. After the array or its manager is closed, operations on
   * the view throw.
   *
   * @throws IllegalArgumentException if the array is null, closed, sparse, not contiguous or not on
   *     the CPU, if its type is not {@code FLOAT64}, {@code FLOAT32}, {@code FLOAT16} or {@code
   *     BFLOAT16}, or if its engine does not expose its memory
   */
  public static TensorView view(NDArray array) {
    checkArgument(array != null, "array: null; expected an NDArray");
    checkArgument(!array.isReleased(), "array: closed; expected an open array");
    DType dtype = dtype(array);
    checkArgument(!array.isSparse(), "array: sparse; expected a dense array; call array.toDense");
    checkArgument(
        array.getDevice().equals(ai.djl.Device.cpu()),
        "array: on %s; expected cpu(), because DJL exposes CPU addresses only",
        array.getDevice());
    long[] shape = array.getShape().getShape();
    if (array.size() == 0) {
      return TensorView.ofAddress(0, dtype, Device.CPU, shape).withOwner(array);
    }
    return TensorView.of(
        new TensorMemory(address(array, dtype, shape), array::isReleased), dtype, shape);
  }

  private static DType dtype(NDArray array) {
    // Not DataType.fromBuffer, which maps every ShortBuffer to FLOAT16.
    return switch (array.getDataType()) {
      case FLOAT64 -> DType.FLOAT64;
      case FLOAT32 -> DType.FLOAT32;
      case FLOAT16 -> DType.FLOAT16;
      case BFLOAT16 -> DType.BFLOAT16;
      default ->
          throw new IllegalArgumentException(
              "array: of type "
                  + array.getDataType().name()
                  + "; expected FLOAT64, FLOAT32, FLOAT16 or BFLOAT16; call array.toType");
    };
  }

  private static long address(NDArray array, DType dtype, long[] shape) {
    // Closes the copies that toByteBuffer makes of an array that is not contiguous.
    try (NDScope scope = new NDScope()) {
      scope.suppressNotUsedWarning();
      ByteBuffer memory = array.toByteBuffer(true);
      ByteBuffer again = array.toByteBuffer(true);
      checkArgument(
          memory.isDirect() && again.isDirect(),
          "array: its engine, %s, copies it to the Java heap; expected one that exposes memory,"
              + " such as PyTorch",
          array.getManager().getEngine().getEngineName());
      TensorView view = TensorView.of(memory, dtype, shape);
      // Two copies have different addresses.
      checkArgument(
          view.address() == TensorView.of(again, dtype, shape).address(),
          "array: %s is not contiguous; expected a contiguous array; call array.flatten().reshape("
              + "array.getShape()) for a copy",
          array.getShape());
      return view.address();
    }
  }
}
