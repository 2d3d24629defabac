package org.normcore;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Argument checks of a norm's calls. Each check throws an exception that names the argument, its
 * value and what was expected. On the hot path: a check that succeeds does not allocate.
 *
 * <p>The native side checks overlaps among the tensors of its first step, before it writes.
 */
final class NormChecks {
  private final NormKind kind;
  private final Device device;
  private final long[] normalizedShape;
  private final long hiddenSize;
  private final DType input;
  private final DType weight;
  private final DType output;
  private final @Nullable Fp8Scaling outputScaling;
  private final DType statistics;
  private final Affine affine;

  NormChecks(
      NormKind kind,
      Device device,
      long[] normalizedShape,
      long hiddenSize,
      DType input,
      DType weight,
      DType output,
      @Nullable Fp8Scaling outputScaling,
      DType statistics,
      Affine affine) {
    this.kind = kind;
    this.device = device;
    this.normalizedShape = normalizedShape;
    this.hiddenSize = hiddenSize;
    this.input = input;
    this.weight = weight;
    this.output = output;
    this.outputScaling = outputScaling;
    this.statistics = statistics;
    this.affine = affine;
  }

  static void requireOperands(@Nullable Operands operands) {
    if (operands == null) {
      throw new IllegalArgumentException("operands: null; expected the tensors of a forward call");
    }
  }

  static void requireGradients(@Nullable Gradients gradients) {
    if (gradients == null) {
      throw new IllegalArgumentException("gradients: null; expected Gradients.none() or more");
    }
  }

  /** Checks all tensors of a forward except the statistics, and returns the number of rows. */
  long requireForward(
      TensorView x,
      @Nullable TensorView weight,
      @Nullable TensorView bias,
      TensorView y,
      @Nullable TensorView residual,
      @Nullable TensorView residualOut) {
    long rows = requireMatrix("x", x, input);
    requireParameter("weight", weight, affine.hasWeight());
    requireParameter("bias", bias, affine.hasBias());
    if (residual != null) {
      requireRows("residual", requireMatrix("residual", residual, input), rows);
      requireRows("residualOut", requireMatrix("residualOut", residualOut, input), rows);
    }
    requireRows("y", requireMatrix("y", y, output), rows);
    return rows;
  }

  /** Checks the scales of an FP8 output, and that another output has none. */
  void requireScales(
      @Nullable TensorView yScale,
      @Nullable TensorView yAmax,
      @Nullable TensorView yScaleInv,
      long rows) {
    if (outputScaling == Fp8Scaling.TENSOR) {
      requireGiven("yScale", yScale);
      requireNumber("yScale", yScale);
      if (yAmax != null) {
        requireNumber("yAmax", yAmax);
      }
    } else {
      requireNoScale("yScale", yScale);
      requireNoScale("yAmax", yAmax);
    }
    if (outputScaling == Fp8Scaling.ROW) {
      requireGiven("yScaleInv", yScaleInv);
      requireTensor("yScaleInv", yScaleInv, DType.FLOAT32);
      requireScaleCount(yScaleInv, rows, "one for each row");
    } else if (outputScaling == Fp8Scaling.BLOCK) {
      requireGiven("yScaleInv", yScaleInv);
      requireTensor("yScaleInv", yScaleInv, DType.FLOAT8_E8M0);
      requireScaleCount(
          yScaleInv,
          rows * ((hiddenSize + Fp8Scaling.BLOCK_SIZE - 1) / Fp8Scaling.BLOCK_SIZE),
          "one for each 32 elements of each row");
    } else {
      requireNoScale("yScaleInv", yScaleInv);
    }
  }

  private static void requireGiven(String argument, @Nullable TensorView view) {
    if (view == null) {
      throw new IllegalArgumentException(
          argument + ": null; expected a tensor, by Operands." + argument);
    }
  }

  private void requireNumber(String argument, @Nullable TensorView view) {
    requireTensor(argument, view, DType.FLOAT32);
    if (view.elements() != 1) {
      throw new IllegalArgumentException(argument + ": " + view + "; expected 1 element");
    }
  }

  private static void requireScaleCount(TensorView view, long count, String why) {
    if (view.elements() != count) {
      throw new IllegalArgumentException(
          "yScaleInv: " + view + "; expected " + count + " elements, " + why);
    }
    if (!view.isContiguous()) {
      throw notContiguous("yScaleInv", view);
    }
  }

  private void requireNoScale(String argument, @Nullable TensorView view) {
    if (view != null) {
      throw new IllegalArgumentException(
          argument
              + ": given as "
              + view
              + "; expected none, because the norm's output is "
              + output
              + (outputScaling == null ? "" : " with scaling " + outputScaling));
    }
  }

  static void requireSourceKept(TensorView source, TensorView y) {
    if (source.address() == y.address() && source.elements() > 0) {
      throw new IllegalArgumentException(
          "y: in place of x, which the backward reads; expected memory of its own, or a call that"
              + " saves nothing");
    }
  }

  /** Checks a tensor of rows, and returns their number. */
  long requireMatrix(String argument, @Nullable TensorView view, DType dtype) {
    requireTensor(argument, view, dtype);
    if (!view.endsWith(normalizedShape)) {
      throw wrongShape(argument, view, "[*, ");
    }
    if (normalizedShape.length == 1) {
      return view.rowCount();
    }
    if (!view.isContiguous()) {
      throw notContiguous(argument, view);
    }
    return view.elements() / hiddenSize;
  }

  void requireParameter(String argument, @Nullable TensorView view, boolean expected) {
    if (expected) {
      requireTensor(argument, view, weight);
      requireNormalizedShape(argument, view);
    } else if (view != null) {
      throw given(argument, view);
    }
  }

  /** Checks an FP8 parameter before it is dequantised to the weight dtype. */
  void requireFp8Weight(Fp8Parameter parameter) {
    if (!affine.hasWeight()) {
      throw given("weight", parameter);
    }
    if (!parameter.hasShape(normalizedShape)) {
      throw wrongShape("weight", parameter.shape(), "[");
    }
    requireDevice("weight", parameter.device());
  }

  void requireGradient(
      String argument, @Nullable TensorView view, GradientMode mode, boolean expected) {
    if (view == null) {
      return;
    }
    requireWanted(argument, view, expected);
    DType dtype = view.dtype();
    if (dtype != DType.FLOAT32 && (mode == GradientMode.ACCUMULATE || dtype != weight)) {
      throw new IllegalArgumentException(
          argument
              + ": dtype "
              + dtype
              + "; expected FLOAT32"
              + (mode == GradientMode.ACCUMULATE
                  ? " to accumulate into"
                  : weight == DType.FLOAT32 ? "" : " or the weight's, " + weight));
    }
    requireTensor(argument, view, dtype);
    requireNormalizedShape(argument, view);
  }

  /** Checks that the norm has a requested gradient. */
  void requireWanted(String argument, @Nullable TensorView view, boolean expected) {
    if (view != null && !expected) {
      throw new IllegalArgumentException(
          argument + ": requested as " + view + ", but the norm's affine form is " + affine);
    }
  }

  private void requireNormalizedShape(String argument, TensorView view) {
    if (!view.hasShape(normalizedShape)) {
      throw wrongShape(argument, view, "[");
    }
    if (!view.isContiguous()) {
      throw notContiguous(argument, view);
    }
  }

  void requireStatistics(@Nullable TensorView mean, @Nullable TensorView rstd, long rows) {
    if (kind == NormKind.LAYER_NORM) {
      requireStatistic("mean", mean, rows);
    } else if (mean != null) {
      throw new IllegalArgumentException(
          "mean: given as " + mean + ", but RMSNorm has none; expected null");
    }
    requireStatistic("rstd", rstd, rows);
  }

  private void requireStatistic(String argument, @Nullable TensorView view, long rows) {
    requireTensor(argument, view, statistics);
    if (view.elements() != rows) {
      throw new IllegalArgumentException(
          argument + ": " + view + "; expected " + rows + " elements, one for each row");
    }
    if (!view.isContiguous()) {
      throw notContiguous(argument, view);
    }
  }

  private void requireTensor(String argument, @Nullable TensorView view, DType dtype) {
    if (view == null) {
      throw new IllegalArgumentException(argument + ": null; expected a tensor");
    }
    if (view.dtype() != dtype) {
      throw new IllegalArgumentException(
          argument + ": dtype " + view.dtype() + "; expected " + dtype);
    }
    requireDevice(argument, view.device());
  }

  /** Checks that a tensor or memory block is on the norm's device. */
  void requireDevice(String argument, Device actual) {
    if (actual != device && !actual.equals(device)) {
      throw new IllegalArgumentException(
          argument + ": is on " + actual + "; expected it on " + device + ", as the norm is");
    }
  }

  /** Checks that a stream, if present, is of the norm's device. */
  void requireStream(@Nullable CudaStream stream) {
    if (stream == null) {
      return;
    }
    if (device.isCpu()) {
      throw new IllegalArgumentException(
          "stream: given as " + stream + ", but the norm is on the CPU; expected none");
    }
    if (!stream.device().equals(device)) {
      throw new IllegalArgumentException(
          "stream: " + stream + "; expected one of " + device + ", as the norm is");
    }
  }

  static void requireRows(String argument, long actual, long rows) {
    if (actual != rows) {
      throw new IllegalArgumentException(
          argument + ": " + actual + " rows; expected " + rows + ", as x has");
    }
  }

  private IllegalArgumentException given(String argument, Object given) {
    return new IllegalArgumentException(
        argument + ": given as " + given + ", but the norm has none; its affine form is " + affine);
  }

  private IllegalArgumentException wrongShape(String argument, TensorView view, String prefix) {
    return wrongShape(argument, view.shape(), prefix);
  }

  private IllegalArgumentException wrongShape(String argument, long[] actual, String prefix) {
    String shape = Arrays.toString(normalizedShape);
    return new IllegalArgumentException(
        argument
            + ": normalized shape "
            + shape
            + " expected a tensor of shape "
            + prefix
            + shape.substring(1)
            + ", got "
            + Arrays.toString(actual));
  }

  private static IllegalArgumentException notContiguous(String argument, TensorView view) {
    return new IllegalArgumentException(
        argument + ": " + view + " has gaps between its rows; expected a contiguous tensor");
  }
}
