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
      "Quantise a tensor of a safetensors file to FP8 and dequantise it. On the CPU it runs in one"
          + " thread; --threads is ignored.",
      "",
      "Reads x, of any shape. Writes q; scale, the factor of x (with one scale for the tensor),"
          + " and scale_inv, the factor that dequantises q; amax, the largest magnitude of"
          + " x; and dequantized, in float32. Writes nothing if an error occurs.",
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
          "One scale for the tensor (tensor), or a power of two per 32 elements of a row (mxfp8)."
              + " Default: ${DEFAULT-VALUE}.")
  Scaling scaling;

  @Option(
      names = "--scale",
      paramLabel = "X",
      description =
          "With --scaling tensor: the factor of x. Default: computed from the largest"
              + " magnitude of x.")
  Float scale;

  @Option(
      names = "--margin",
      paramLabel = "M",
      description =
          "With --scaling tensor and no --scale: the number of powers of two by which the scale is"
              + " reduced. Default: 0.")
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
