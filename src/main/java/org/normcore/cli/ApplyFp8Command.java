package org.normcore.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Quantises a tensor of a file. */
@Command(
    name = "fp8",
    sortOptions = false,
    description = {
      "Quantise a tensor of a safetensors file into FP8, and back. On the CPU one thread does it,"
          + " whatever --threads says.",
      "",
      "Reads x, of any shape. Writes q; scale, by which x was multiplied (with one scale for all),"
          + " and scale_inv, by which q is multiplied to get back; amax, the largest magnitude of"
          + " x; and dequantized, in float32. Nothing is written unless all of it succeeded.",
      ""
    })
public final class ApplyFp8Command implements Callable<Integer> {
  /** Ways to scale. */
  enum Scaling {
    TENSOR,
    MXFP8
  }

  /** Formats. */
  enum Format {
    E4M3,
    E5M2
  }

  @Spec private CommandSpec spec;

  @Mixin FileOptions files;

  @Option(
      names = "--format",
      paramLabel = "F",
      defaultValue = "e4m3",
      description = "e4m3 or e5m2. Default: ${DEFAULT-VALUE}.")
  Format format;

  @Option(
      names = "--scaling",
      paramLabel = "S",
      defaultValue = "tensor",
      description =
          "One scale for all (tensor), or a power of two for each 32 elements of a row (mxfp8)."
              + " Default: ${DEFAULT-VALUE}.")
  Scaling scaling;

  @Option(
      names = "--scale",
      paramLabel = "X",
      description =
          "With --scaling tensor: what x is multiplied by. Default: the scale that its largest"
              + " magnitude calls for.")
  Float scale;

  @Option(
      names = "--margin",
      paramLabel = "M",
      description =
          "With --scaling tensor and no --scale: powers of two that the scale stays below what is"
              + " possible. Default: 0.")
  Integer margin;

  @Option(
      names = "--power-of-two",
      description = "With --scaling tensor and no --scale: round the scale down to a power of two.")
  boolean powerOfTwo;

  @Mixin ExpectOptions expectation;

  @Override
  public Integer call() throws IOException {
    return new Fp8Application(Context.of(spec), this).run();
  }
}
