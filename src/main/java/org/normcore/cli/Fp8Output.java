package org.normcore.cli;

import com.google.gson.JsonObject;
import java.util.Arrays;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.Fp8Scaling;
import org.normcore.Norm;
import org.normcore.Operands;
import org.normcore.TensorView;

/**
 * The FP8 output of a norm: its options, its scales, and the scale that a pass over the data
 * computes if none is given. Empty for any other output.
 */
final class Fp8Output {
  private final Optional<Fp8Scaling> scaling;
  private final Optional<Float> given;
  private final boolean powerOfTwo;
  private float scale = 1;

  private Fp8Output(Optional<Fp8Scaling> scaling, Optional<Float> given, boolean powerOfTwo) {
    this.scaling = scaling;
    this.given = given;
    this.powerOfTwo = powerOfTwo;
  }

  /** Reads the options and checks that they are consistent. */
  static Fp8Output of(ApplyOptions options) {
    boolean isFp8 = options.outputDType != null && options.outputDType.isFp8();
    Fp8Scaling scaling = options.outputScaling;
    if (isFp8 && scaling == null) {
      throw new BadInput(
          "--output-scaling is missing: expected tensor, row or block, because --output-dtype is "
              + OptionNames.of(options.outputDType));
    }
    if (!isFp8 && scaling != null) {
      throw new BadInput(
          "--output-scaling is "
              + OptionNames.of(scaling)
              + ", expected it with --output-dtype float8-e4m3 or float8-e5m2 only");
    }
    if (options.outputScale != null) {
      if (scaling != Fp8Scaling.TENSOR) {
        throw new BadInput(
            "--output-scale is "
                + options.outputScale
                + ", expected it with --output-scaling tensor only");
      }
      if (!(options.outputScale >= Float.MIN_NORMAL && options.outputScale <= Float.MAX_VALUE)) {
        throw new BadInput(
            "--output-scale is "
                + options.outputScale
                + ", expected a positive, normal float32 number");
      }
    }
    if (options.powerOfTwo
        && (scaling == null || scaling == Fp8Scaling.BLOCK || options.outputScale != null)) {
      throw new BadInput(
          "--power-of-two is given, but no scale is computed, expected it with"
              + " --output-scaling row, or with tensor and no --output-scale");
    }
    return new Fp8Output(
        Optional.ofNullable(scaling), Optional.ofNullable(options.outputScale), options.powerOfTwo);
  }

  /** Sets the output of a norm. */
  void addTo(Norm.Builder<?> builder, Optional<DType> gradient) {
    if (scaling.isPresent()) {
      builder.outputScaling(scaling.get());
      builder.powerOfTwoScales(powerOfTwo && scaling.get() == Fp8Scaling.ROW);
      gradient.ifPresent(builder::gradient);
    }
  }

  /** Adds the scales to the operands and to the results, and computes the scale of the tensor. */
  Operands scales(
      Norm norm, Operands operands, long[] rowShape, ApplyResults results, DeviceTensors tensors) {
    if (scaling.isEmpty()) {
      return operands;
    }
    switch (scaling.get()) {
      case ROW:
        return operands.yScaleInv(
            tensors.output(results.add("y_scale_inv", DType.FLOAT32, rowShape)));
      case BLOCK:
        long blocks = (norm.hiddenSize() + Fp8Scaling.BLOCK_SIZE - 1) / Fp8Scaling.BLOCK_SIZE;
        long[] shape = Arrays.copyOf(rowShape, rowShape.length + 1);
        shape[rowShape.length] = blocks;
        return operands.yScaleInv(
            tensors.output(results.add("y_scale_inv", DType.FLOAT8_E8M0, shape)));
      default:
        TensorView scaleInv = results.add("y_scale_inv", DType.FLOAT32, 1);
        TensorView amax = results.add("y_amax", DType.FLOAT32, 1);
        scale = given.orElseGet(() -> ownScale(norm, operands, tensors));
        scaleInv.copyFrom(new float[] {1 / scale});
        return operands.yScale(number(tensors, scale)).yAmax(tensors.inOut(amax));
    }
  }

  /** A first pass for the largest magnitude; the second pass overwrites its y. */
  private float ownScale(Norm norm, Operands operands, DeviceTensors tensors) {
    try (DeviceTensors first = tensors.another()) {
      TensorView amax = ApplyResults.number(0);
      norm.infer(operands.yScale(number(tensors, 1)).yAmax(first.inOut(amax)));
      first.fetch();
      return Fp8Scales.of(norm.outputDType(), amax.toFloats()[0], powerOfTwo);
    }
  }

  private static TensorView number(DeviceTensors tensors, float value) {
    return tensors.input(ApplyResults.number(value));
  }

  /** The quantisation as the end of a sentence. */
  String text() {
    return scaling
        .map(
            s ->
                "; y = rd(y * "
                    + (s == Fp8Scaling.TENSOR
                        ? scale + ")"
                        : "scale), a scale for each "
                            + (s == Fp8Scaling.ROW ? "row" : "block of 32")))
        .orElse("");
  }

  /** Adds the same information to a document. */
  void addTo(JsonObject document) {
    scaling.ifPresent(
        s -> {
          document.addProperty("output_scaling", OptionNames.of(s));
          document.addProperty("power_of_two", powerOfTwo || s == Fp8Scaling.BLOCK);
          document.addProperty("output_scale", s == Fp8Scaling.TENSOR ? scale : null);
        });
  }
}
