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
      description = "What is added to the variance. Default: ${DEFAULT-VALUE}.")
  double epsilon;

  @Option(
      names = "--output-dtype",
      paramLabel = "TYPE",
      description =
          "The type of y and dy: float64, float32, bfloat16 or float16; of y alone: float8-e4m3 or"
              + " float8-e5m2. Default: by the policy.")
  DType outputDType;

  @Option(
      names = "--output-scaling",
      paramLabel = "S",
      description =
          "For an FP8 y, what shares a scale: all of it (tensor), a row, or a block of 32"
              + " elements.")
  Fp8Scaling outputScaling;

  @Option(
      names = "--output-scale",
      paramLabel = "X",
      description =
          "With --output-scaling tensor: what y is multiplied by. Default: the scale that its own"
              + " largest magnitude calls for.")
  Float outputScale;

  @Option(
      names = "--power-of-two",
      description = "Round scales that are computed down to powers of two.")
  boolean powerOfTwo;

  @Option(
      names = "--normalized-dims",
      paramLabel = "K",
      defaultValue = "1",
      description = "How many of the last dimensions are normalised. Default: ${DEFAULT-VALUE}.")
  int normalizedDims;

  @Option(
      names = "--grad-dtype",
      paramLabel = "TYPE",
      description = "The type of dweight and dbias: the weight's (default) or float32.")
  DType gradDType;

  @Mixin ExpectOptions expectation;
}
