package org.normcore.cli;

import java.nio.file.Path;
import org.normcore.DType;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The options of {@code apply rms-norm} and {@code apply layer-norm}. */
final class ApplyOptions {
  @Option(
      names = "--in",
      required = true,
      paramLabel = "FILE",
      description = "The tensors to read.")
  Path in;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description = "The file to write. It may be left out if --expect is given.")
  Path out;

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
          "The type of y and dy: float64, float32, bfloat16 or float16. Default: by the policy.")
  DType outputDType;

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

  @Option(
      names = "--expect",
      paramLabel = "FILE",
      description = "Compare what was computed with the tensors of the same names in this file.")
  Path expect;

  @Option(
      names = "--max-ulp",
      paramLabel = "N",
      description =
          "With --expect: exit with status 1 if any element is further off, in units in the last place.")
  Long maxUlp;
}
