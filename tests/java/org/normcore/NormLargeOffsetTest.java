package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.normcore.DType.BFLOAT16;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.Arena;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/**
 * Rows more than 2^31 elements apart, in memory of which only the rows are touched, give the same
 * results as contiguous rows.
 */
class NormLargeOffsetTest {
  private static final int ROWS = 5;
  private static final long STRIDE = (1L << 29) + 77;

  private static NativeBuffer allocate(long bytes) {
    try {
      return NativeBuffer.allocate(bytes);
    } catch (OutOfMemoryError e) {
      return abort("no address space for " + bytes + " bytes here: " + e.getMessage());
    }
  }

  private static TensorView view(NativeBuffer buffer, int n) {
    return TensorView.ofAddress(buffer.address(), BFLOAT16, Device.CPU, ROWS, n)
        .withRowStride(STRIDE)
        .withOwner(buffer);
  }

  /** One range in the calling thread, and several ranges in several threads. */
  @ParameterizedTest
  @EnumSource
  void rowsFarApart(NormKind kind) {
    for (int n : new int[] {1023, 1 << 17}) {
      long bytes = ((ROWS - 1) * STRIDE + n) * BFLOAT16.bytes();
      assertTrue(bytes / BFLOAT16.bytes() > 1L << 31);
      try (Norm norm =
              NormTensors.builder(
                      kind,
                      n,
                      BFLOAT16,
                      BFLOAT16,
                      Affine.WEIGHT_AND_BIAS,
                      NormPolicy.HUGGING_FACE_LLAMA)
                  .threads(2)
                  .build();
          NormTensors near = new NormTensors(norm, ROWS, false, Layout.DENSE, n);
          Arena arena = new Arena();
          NativeBuffer farX = allocate(bytes);
          NativeBuffer farY = allocate(bytes)) {
        near.run();
        TensorView x = view(farX, n).copyFrom(near.x);
        TensorView y = view(farY, n);
        TensorView dweight = arena.tensor(BFLOAT16, n);
        TensorView dbias = arena.tensor(BFLOAT16, n);
        try (Saved saved = norm.forward(Operands.of(x, y).weight(near.weight).bias(near.bias))) {
          for (int row : new int[] {0, ROWS - 1}) {
            assertArrayEquals(near.y.rows(row, row + 1).toBytes(), y.rows(row, row + 1).toBytes());
          }
          assertArrayEquals(near.y.toBytes(), y.toBytes());
          // y is no longer needed: dy and dx use its memory.
          y.copyFrom(near.dy);
          norm.backward(
              saved,
              y,
              Gradients.of(y).weight(dweight, GradientMode.WRITE).bias(dbias, GradientMode.WRITE));
        }
        assertArrayEquals(near.dx.toBytes(), y.toBytes());
        assertArrayEquals(near.dweight.toBytes(), dweight.toBytes());
        assertArrayEquals(near.dbias.toBytes(), dbias.toBytes());
        assertArrayEquals(near.x.toBytes(), x.toBytes());
      }
    }
  }
}
