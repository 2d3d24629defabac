package org.normcore.cli;

import java.util.Optional;
import org.normcore.ComputeType;
import org.normcore.GammaOffset;
import org.normcore.ModelType;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.ResidualRounding;
import org.normcore.ScaleRounding;
import org.normcore.VarianceAlgorithm;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** The options that choose a policy: a preset or a model type, and overrides of single fields. */
final class PolicyOptions {
  @ArgGroup(exclusive = true)
  private Start start;

  @Option(
      names = "--rounding",
      paramLabel = "R",
      description = "The type that the normalised value is rounded to: compute, input or weight.")
  private ScaleRounding rounding;

  @Option(
      names = "--gamma-offset",
      paramLabel = "G",
      description = "The offset of the weight: none, one-in-compute or one-in-weight.")
  private GammaOffset gammaOffset;

  @Option(
      names = "--variance",
      paramLabel = "V",
      description = "The variance algorithm of layer-norm: two-pass, welford or sum-of-squares.")
  private VarianceAlgorithm variance;

  @Option(
      names = "--compute",
      paramLabel = "C",
      description = "The type of all arithmetic: float32 or float64.")
  private ComputeType compute;

  @Option(
      names = "--residual-rounding",
      paramLabel = "R",
      description =
          "With a residual, normalise the sum rounded to the input's type (input) or unrounded (compute).")
  private ResidualRounding residualRounding;

  /** The base of the policy. */
  static final class Start {
    @Option(
        names = "--policy",
        paramLabel = "NAME",
        description =
            "A preset: transformer-engine (default), transformer-engine-zero-centered, hugging-face-llama, t5, gemma,"
                + " pytorch, layer-norm-1p, deberta, oneflow or onnx.")
    private NormPolicy policy;

    @Option(
        names = "--model-type",
        paramLabel = "TYPE",
        description =
            "The preset of this model_type of a Hugging Face config.json, for example qwen3.")
    private String modelType;
  }

  /** Returns the chosen policy for a norm of the given kind. */
  NormPolicy policy(NormKind kind) {
    if (variance != null && kind == NormKind.RMS_NORM) {
      throw new BadInput(
          "--variance is "
              + OptionNames.of(variance)
              + ", but rms-norm has no variance, expected it with layer-norm only");
    }
    NormPolicy base = base(kind);
    NormPolicy.Builder builder = base.toBuilder();
    Optional.ofNullable(rounding).ifPresent(builder::scaleRounding);
    Optional.ofNullable(gammaOffset).ifPresent(builder::gammaOffset);
    Optional.ofNullable(variance).ifPresent(builder::variance);
    Optional.ofNullable(compute).ifPresent(builder::compute);
    Optional.ofNullable(residualRounding).ifPresent(builder::residualRounding);
    NormPolicy policy = builder.build();
    return policy.equals(base) ? base : policy;
  }

  private NormPolicy base(NormKind kind) {
    if (start == null) {
      return NormPolicy.TRANSFORMER_ENGINE;
    }
    if (start.policy != null) {
      return start.policy;
    }
    ModelType type = ModelType.of(start.modelType);
    if (type.norm() != kind) {
      throw new BadInput(
          "--model-type "
              + type.modelType()
              + " has "
              + OptionNames.of(type.norm())
              + ", not "
              + OptionNames.of(kind));
    }
    return type.policy();
  }
}
