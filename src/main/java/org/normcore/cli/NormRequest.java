package org.normcore.cli;

import java.util.Optional;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.LayerNorm;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;

/**
 * The parameters of a norm of either kind.
 *
 * @param kind which norm
 * @param shape the normalised dimensions
 * @param epsilon the value added to the variance
 * @param input the type of the input
 * @param weight the type of weight and bias
 * @param output the type of the output, or empty for the policy's default
 * @param affine whether the norm has weight and bias
 * @param policy where to round
 * @param device where to run
 * @param threads how many threads to use on the CPU
 */
public record NormRequest(
    NormKind kind,
    long[] shape,
    double epsilon,
    DType input,
    DType weight,
    Optional<DType> output,
    Affine affine,
    NormPolicy policy,
    Device device,
    int threads) {

  /** Makes the norm. */
  public Norm open() {
    return builder().build();
  }

  /** Makes a builder of the norm, for further options. */
  public Norm.Builder<?> builder() {
    Norm.Builder<?> builder =
        kind == NormKind.RMS_NORM ? RmsNorm.builder(shape) : LayerNorm.builder(shape);
    builder.epsilon(epsilon);
    builder.input(input);
    builder.weight(weight);
    builder.affine(affine);
    builder.policy(policy);
    builder.device(device);
    builder.threads(threads);
    output.ifPresent(builder::output);
    return builder;
  }

  /** The form with these parameters. */
  public static Affine affine(boolean hasWeight, boolean hasBias) {
    if (hasWeight) {
      return hasBias ? Affine.WEIGHT_AND_BIAS : Affine.WEIGHT;
    }
    return hasBias ? Affine.BIAS : Affine.NONE;
  }
}
