package org.normcore.frameworks;

import static com.google.common.base.Preconditions.checkArgument;

import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.TensorView;

/**
 * Zero-copy views of ND4J arrays. Tested with ND4J 1.0.0-M2.1.
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
   * Returns a view of an array's memory, with the array's shape, offset and row stride, so a range
   * of rows or of columns is viewed in place. The view is writable; arrays that are views of the
   * same buffer see the writes.
   *
   * <p>The view keeps the array reachable. After the array or its workspace is closed, operations
   * on the view throw.
   *
   * @throws IllegalArgumentException if the array is null or closed, if its type is not {@code
   *     DOUBLE}, {@code FLOAT}, {@code HALF} or {@code BFLOAT16}, if its backend is not on the CPU,
   *     if the elements of a row are not contiguous, as in order {@code 'f'}, or if its rows do not
   *     have one stride
   */
  public static TensorView view(INDArray array) {
    checkArgument(array != null, "array: null; expected an INDArray");
    checkArgument(
        !isFreed(array), "array: closed, or its workspace is closed; expected an open array");
    DType dtype = dtype(array);
    long[] shape = array.shape();
    if (array.isEmpty()) {
      // Nd4j.empty has no dimensions; a TensorView without dimensions has one element.
      long[] none = shape.length == 0 ? new long[] {0} : shape;
      return TensorView.ofAddress(0, dtype, Device.CPU, none).withOwner(array);
    }
    checkArgument(
        org.nd4j.linalg.factory.Nd4j.getEnvironment().isCPU(),
        "array: its memory is not on the CPU; expected an array of the nd4j-native backend");
    // Unlike data().address(), this includes the offset.
    long address = array.data().addressPointer().address();
    TensorView view;
    try {
      view = TensorView.ofStrided(address, dtype, Device.CPU, shape, array.stride());
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("array." + e.getMessage() + "; call array.dup('c')", e);
    }
    return view.withOwner(new TensorMemory(address, () -> isFreed(array)));
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
    // Not by the class of the pointer, which is a ShortPointer for both 16-bit types.
    return switch (array.dataType()) {
      case DOUBLE -> DType.FLOAT64;
      case FLOAT -> DType.FLOAT32;
      case HALF -> DType.FLOAT16;
      case BFLOAT16 -> DType.BFLOAT16;
      default ->
          throw new IllegalArgumentException(
              "array: of type "
                  + array.dataType()
                  + "; expected DOUBLE, FLOAT, HALF or BFLOAT16; call array.castTo");
    };
  }
}
