package org.normcore.testing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.UnaryOperator;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Fp8Scaling;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;

/**
 * All tensors of one norm. The random contents depend only on the seed and the row number, so the
 * same rows are available with another alignment, stride or batch size.
 */
public final class NormTensors implements AutoCloseable {
  /**
   * The memory layout of tensors: bytes after an aligned address, elements between rows, and the
   * increase of that gap from tensor to tensor, in elements.
   */
  public record Layout(int misalignment, long gap, int growth) {
    /** All tensors with the same gap. */
    public Layout(int misalignment, long gap) {
      this(misalignment, gap, 0);
    }

    /** Aligned and contiguous. */
    public static final Layout DENSE = new Layout(0, 0);
  }

  private final Arena arena = new Arena();
  private final Norm norm;
  private final int rows;
  private final int n;
  private long matrices;

  public final TensorView x;
  public final TensorView residual;
  public final TensorView residualOut;
  public final TensorView weight;
  public final TensorView bias;
  public final TensorView y;
  public final TensorView dy;
  public final TensorView dx;
  public final TensorView dresidual;
  public final TensorView dweight;
  public final TensorView dbias;
  public final TensorView yScale;
  public final TensorView yAmax;
  public final TensorView yScaleInv;

  /**
   * Makes the tensors of {@code rows} rows; those that the norm or the form lacks are null. The
   * scale of an FP8 output with one scale is 20.5.
   */
  public NormTensors(Norm norm, int rows, boolean residualForm, Layout layout, long seed) {
    this.norm = norm;
    this.rows = rows;
    this.n = Math.toIntExact(norm.hiddenSize());
    DType input = norm.inputDType();
    DType weightType = norm.weightDType();
    x = rows(input, layout, seed);
    residual = residualForm ? rows(input, layout, seed + 1) : null;
    residualOut = residualForm ? empty(input, layout) : null;
    weight = norm.affine().hasWeight() ? parameter(weightType, layout, seed + 2) : null;
    bias = norm.affine().hasBias() ? parameter(weightType, layout, seed + 3) : null;
    y = empty(norm.outputDType(), layout);
    dy = rows(norm.gradientDType(), layout, seed + 4);
    dx = empty(input, layout);
    dresidual = residualForm ? rows(input, layout, seed + 5) : null;
    dweight = weight == null ? null : arena.tensor(layout.misalignment, 0, weightType, n);
    dbias = bias == null ? null : arena.tensor(layout.misalignment, 0, weightType, n);
    Fp8Scaling scaling = norm.outputScaling();
    boolean given = scaling == Fp8Scaling.TENSOR;
    yScale = given ? arena.tensor(DType.FLOAT32, new double[] {20.5}, 1) : null;
    yAmax = given ? arena.tensor(DType.FLOAT32, new double[] {0}, 1) : null;
    yScaleInv =
        scaling == Fp8Scaling.ROW
            ? arena.tensor(DType.FLOAT32, rows, 1)
            : scaling == Fp8Scaling.BLOCK
                ? arena.tensor(layout.misalignment, 0, DType.FLOAT8_E8M0, rows, (n + 31) / 32)
                : null;
  }

  /** Makes a builder of a norm of either kind. */
  public static Norm.Builder<?> builder(NormKind kind, long... normalizedShape) {
    return kind == NormKind.LAYER_NORM
        ? LayerNorm.builder(normalizedShape)
        : RmsNorm.builder(normalizedShape);
  }

  /** Makes a builder of a norm of either kind with all options that affect its results. */
  public static Norm.Builder<?> builder(
      NormKind kind, long n, DType input, DType weight, Affine affine, NormPolicy policy) {
    return builder(kind, n).input(input).weight(weight).affine(affine).policy(policy);
  }

  /** Returns the operands of a forward call. */
  public Operands operands() {
    return operands(view -> view);
  }

  /** Returns the same for tensors with another memory layout. */
  public Operands operands(UnaryOperator<TensorView> at) {
    Operands operands =
        Operands.of(at.apply(x), at.apply(y))
            .weight(at.apply(weight))
            .bias(at.apply(bias))
            .yScale(at.apply(yScale))
            .yAmax(at.apply(yAmax))
            .yScaleInv(at.apply(yScaleInv));
    return residual == null
        ? operands
        : operands.residual(at.apply(residual), at.apply(residualOut));
  }

  /** Returns all gradients that the norm has, to be written. */
  public Gradients gradients() {
    return gradients(view -> view);
  }

  /** Returns the same for tensors with another memory layout. */
  public Gradients gradients(UnaryOperator<TensorView> at) {
    Gradients gradients = Gradients.of(at.apply(dx));
    if (dweight != null) {
      gradients = gradients.weight(at.apply(dweight), GradientMode.WRITE);
    }
    if (dbias != null) {
      gradients = gradients.bias(at.apply(dbias), GradientMode.WRITE);
    }
    return dresidual == null ? gradients : gradients.residual(at.apply(dresidual));
  }

  /** Returns the same memory on a CUDA device, without contents yet. */
  public Mirror mirror(Device device) {
    return new Mirror(arena, device);
  }

  /** Runs forward and backward. */
  public void run() {
    run(norm);
  }

  /** Runs forward and backward of another norm with the same dtypes and affine form. */
  public void run(Norm norm) {
    try (Saved saved = norm.forward(operands())) {
      norm.backward(saved, dy, gradients());
    }
  }

  /** Overwrites all outputs, so that stale results are detected. */
  public void clear() {
    for (TensorView view : new TensorView[] {residualOut, y, dx, dweight, dbias}) {
      if (view != null) {
        double[] nothing = new double[Math.toIntExact(view.elements())];
        Arrays.fill(nothing, Double.NaN);
        view.copyFrom(nothing);
      }
    }
    if (yAmax != null) {
      yAmax.copyFrom(new float[] {0});
    }
    if (yScaleInv != null) {
      // There is no conversion to the format of block scales, so this writes arbitrary bytes.
      long bytes = yScaleInv.elements() * yScaleInv.dtype().bytes();
      TensorView.ofAddress(yScaleInv.address(), DType.FLOAT8_E5M2, Device.CPU, bytes)
          .copyFrom(new double[Math.toIntExact(bytes)]);
    }
  }

  /** Fails if the results differ from the expected ones in any bit. */
  public void assertResults(List<byte[]> expected, String what) {
    List<byte[]> actual = results();
    assertEquals(expected.size(), actual.size(), what);
    for (int i = 0; i < actual.size(); i++) {
      assertArrayEquals(expected.get(i), actual.get(i), what);
    }
  }

  /**
   * Returns the bytes of the outputs that do not depend on other rows: residualOut, y and its
   * scales, dx.
   */
  public List<byte[]> rowResults(int begin, int end) {
    List<byte[]> all = new ArrayList<>();
    for (TensorView view : new TensorView[] {residualOut, y, yScaleInv, dx}) {
      if (view != null) {
        all.add(view.rows(begin, end).toBytes());
      }
    }
    return all;
  }

  /** Returns the bytes of all outputs of forward and backward. */
  public List<byte[]> results() {
    List<byte[]> all = rowResults(0, rows);
    for (TensorView view : new TensorView[] {dweight, dbias, yAmax}) {
      if (view != null) {
        all.add(view.toBytes());
      }
    }
    return all;
  }

  /** Fails if any memory except the outputs has been written. */
  public void assertGuards() {
    arena.assertGuards();
  }

  private TensorView empty(DType dtype, Layout layout) {
    return arena.tensor(
        layout.misalignment, layout.gap + layout.growth * matrices++, dtype, rows, n);
  }

  private TensorView rows(DType dtype, Layout layout, long seed) {
    TensorView view = empty(dtype, layout);
    for (int row = 0; row < rows; row++) {
      view.rows(row, row + 1).copyFrom(Values.normal(seed * 1_000_003 + row, n));
    }
    return view;
  }

  private TensorView parameter(DType dtype, Layout layout, long seed) {
    return arena.tensor(layout.misalignment, 0, dtype, n).copyFrom(Values.normal(seed, n));
  }

  @Override
  public void close() {
    arena.close();
  }
}
