package org.normcore.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import org.normcore.AnglePrecision;
import org.normcore.DType;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Applies rotary position embedding to the queries and keys of a file. */
@Command(
    name = "rotary",
    sortOptions = false,
    description = {
      "Run rotary position embedding on the tensors of a safetensors file.",
      "",
      "Reads q and k [batch, seq, heads, dim], integer positions [seq] or [batch, seq]"
          + " and, if the file has them, dq and dk, the gradients of the outputs. Writes q_out,"
          + " k_out, dq_out, dk_out, and the table of the rotation: cos and sin [seq,"
          + " rotary-dim / 2] or [batch, seq, rotary-dim / 2]. Writes nothing if an error"
          + " occurs.",
      ""
    })
public final class ApplyRotaryCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;

  @Mixin FileOptions files;

  @Mixin RotaryOptions rotary;

  @Option(
      names = "--sequence-length",
      paramLabel = "N",
      description =
          "The sequence length of the frequencies, if they depend on it. Default: up to"
              + " the largest position.")
  Long sequenceLength;

  @Option(
      names = "--layout",
      paramLabel = "L",
      defaultValue = "half-split",
      description =
          "The elements of a pair: i and i + rotary-dim / 2 (half-split), or neighbours"
              + " (interleaved). Default: ${DEFAULT-VALUE}.")
  RotaryLayout layout;

  @Option(
      names = "--angles",
      paramLabel = "A",
      defaultValue = "float64",
      description =
          "The type of the angles: float64, or float32 in the order of Hugging Face."
              + " Default: ${DEFAULT-VALUE}.")
  AnglePrecision angles;

  @Option(
      names = "--rounding",
      paramLabel = "R",
      defaultValue = "compute",
      description =
          "The rounding of a rotated value: once, at the end (compute), or each product and the sum"
              + " (input). Default: ${DEFAULT-VALUE}.")
  RotaryRounding rounding;

  @Option(
      names = "--table-dtype",
      paramLabel = "TYPE",
      description =
          "The type of cos and sin: float32, bfloat16 or float16. Default: the type of q.")
  DType tableDType;

  @Mixin ExpectOptions expectation;

  @Override
  public Integer call() throws IOException {
    return new RotaryApplication(Context.of(spec), this).run();
  }
}
