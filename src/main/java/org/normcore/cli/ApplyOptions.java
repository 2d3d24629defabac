package org.normcore.cli;

import org.normcore.DType;
import org.normcore.Fp8Scaling;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options of {@code apply rms-norm} and {@code apply layer-norm}. */
final class ApplyOptions {
  @Mixin FileOptions files;

  @Mixin PolicyOptions policy;

  @Option(
      names = "--epsilon",
      paramLabel = "E",
      defaultValue = "1e-5",
      description = "The value added to the variance. Default: ${DEFAULT-VALUE}.")
  double epsilon;

  @Option(
      names = "--output-dtype",
      paramLabel = "TYPE",
      description =
          "The type of y and dy: float64, float32, bfloat16 or float16; of y only: float8-e4m3 or"
              + " float8-e5m2. Default: determined by the policy.")
  DType outputDType;

  @Option(
      names = "--output-scaling",
      paramLabel = "S",
      description =
          "For an FP8 y: one scale for the tensor (tensor), per row (row) or per block of 32"
              + " elements (block).")
  Fp8Scaling outputScaling;

  @Option(
      names = "--output-scale",
      paramLabel = "X",
      description =
          "With --output-scaling tensor: the factor of y. Default: computed from the largest"
              + " magnitude of y.")
  Float outputScale;

  @Option(names = "--power-of-two", description = "Round computed scales down to powers of two.")
  boolean powerOfTwo;

  @Option(
      names = "--normalized-dims",
      paramLabel = "K",
      defaultValue = "1",
      description = "The number of trailing dimensions to normalise. Default: ${DEFAULT-VALUE}.")
  int normalizedDims;

  @Option(
      names = "--grad-dtype",
      paramLabel = "TYPE",
      description = "The type of dweight and dbias: the type of the weight (default) or float32.")
  DType gradDType;

  @Mixin ExpectOptions expectation;
}
