package org.normcore.frameworks;

import static com.google.common.base.Preconditions.checkArgument;

import java.util.Arrays;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.TensorView;

/**
 * ND4J's arrays as tensors, without a copy. Tested with ND4J 1.0.0-M2.1.
 *
 * <pre>{@code
 * INDArray x = Nd4j.rand(DataType.FLOAT, 8, 768);
 * INDArray y = Nd4j.createUninitialized(DataType.FLOAT, 8, 768);
 * norm.infer(view(x), view(weight), view(y));
 * }</pre>
 */
public final class Nd4j {
  private Nd4j() {}

  /**
   * Returns a view of an array's memory: of its shape, with its offset and the distance between its
   * rows. So a range of rows or of columns is viewed in place. The view is for writing as well; as
   * ever in ND4J, arrays that are views of the same buffer see what is written.
   *
   * <p>The array stays reachable with the view. Once it has been closed, or its workspace has been
   * left, operations on the view are refused.
   *
   * @throws IllegalArgumentException if the array is null or closed, of another type than {@code
   *     DOUBLE}, {@code FLOAT}, {@code HALF} and {@code BFLOAT16}, of a backend that is not on the
   *     CPU, or if the elements of its rows are not neighbours and its rows not evenly apart, as in
   *     order {@code 'f'}
   */
  public static TensorView view(INDArray array) {
    checkArgument(array != null, "array: null; expected an INDArray");
    checkArgument(
        !isFreed(array),
        "array: closed, or of a workspace that has been left; expected a live one");
    DType dtype = dtype(array);
    long[] shape = array.shape();
    if (array.isEmpty()) {
      // Nd4j.empty has no dimensions, with which a tensor has one element.
      long[] none = shape.length == 0 ? new long[] {0} : shape;
      return TensorView.ofAddress(0, dtype, Device.CPU, none).withOwner(array);
    }
    checkArgument(
        org.nd4j.linalg.factory.Nd4j.getEnvironment().isCPU(),
        "array: its memory is not on the CPU; expected one of the nd4j-native backend");
    long rowStride = rowStride(shape, array.stride());
    checkArgument(
        rowStride >= 0,
        "array: shape %s, strides %s; expected rows of neighbouring elements, evenly apart, as"
            + " array.dup('c') has",
        Arrays.toString(shape),
        Arrays.toString(array.stride()));
    // Unlike data().address(), this counts the offset.
    long address = array.data().addressPointer().address();
    TensorView view = TensorView.of(new TensorMemory(address, () -> isFreed(array)), dtype, shape);
    return shape.length < 2 ? view : view.withRowStride(rowStride);
  }

  private static boolean isFreed(INDArray array) {
    if (array.wasClosed()) {
      return true;
    }
    MemoryWorkspace workspace = array.isEmpty() ? null : array.data().getParentWorkspace();
    return workspace != null
        && workspace.getWorkspaceType() != MemoryWorkspace.Type.CIRCULAR
        && (!workspace.isScopeActive()
            || workspace.getGenerationId() != array.data().getGenerationId());
  }

  private static DType dtype(INDArray array) {
    // Not by the class of its pointer, which is a ShortPointer for both types of 16 bits.
    return switch (array.dataType()) {
      case DOUBLE -> DType.FLOAT64;
      case FLOAT -> DType.FLOAT32;
      case HALF -> DType.FLOAT16;
      case BFLOAT16 -> DType.BFLOAT16;
      default ->
          throw new IllegalArgumentException(
              "array: of type "
                  + array.dataType()
                  + "; expected DOUBLE, FLOAT, HALF or BFLOAT16, such as array.castTo gives");
    };
  }

  /** The distance between neighbouring rows, or -1 if it is not the same for all of them. */
  private static long rowStride(long[] shape, long[] strides) {
    int last = shape.length - 1;
    if (last < 0) {
      return 1;
    }
    if (shape[last] > 1 && strides[last] != 1) {
      return -1;
    }
    long rowStride = -1;
    long next = -1;
    for (int i = last - 1; i >= 0; i--) {
      if (shape[i] == 1) {
        continue;
      }
      if (rowStride < 0) {
        rowStride = strides[i];
      } else if (strides[i] != next) {
        return -1;
      }
      next = strides[i] * shape[i];
    }
    // One row is as far from the next as it is long. Rows that overlap are one memory twice.
    return rowStride < 0 ? shape[last] : rowStride < shape[last] ? -1 : rowStride;
  }
}
