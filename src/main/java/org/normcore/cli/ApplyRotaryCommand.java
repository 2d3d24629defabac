package org.normcore.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import org.normcore.Angles;
import org.normcore.DType;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Turns the queries and keys of a file by the angles of their positions. */
@Command(
    name = "rotary",
    sortOptions = false,
    description = {
      "Run rotary position embedding on the tensors of a safetensors file.",
      "",
      "Reads q and k [batch, seq, heads, dim], positions [seq] or [batch, seq] of whole numbers"
          + " and, where the file has them, dq and dk, the gradients of the outputs. Writes q_out,"
          + " k_out, dq_out, dk_out, and the table that they were turned by: cos and sin [seq,"
          + " rotary-dim / 2] or [batch, seq, rotary-dim / 2]. Nothing is written unless all of it"
          + " succeeded.",
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
          "The length that the frequencies are made for, where they depend on it. Default: up to"
              + " the largest position.")
  Long sequenceLength;

  @Option(
      names = "--layout",
      paramLabel = "L",
      defaultValue = "half-split",
      description =
          "Which elements turn together: i and i + rotary-dim / 2 (half-split), or neighbours"
              + " (interleaved). Default: ${DEFAULT-VALUE}.")
  RotaryLayout layout;

  @Option(
      names = "--angles",
      paramLabel = "A",
      defaultValue = "float64",
      description =
          "The type that angles are formed in: float64, or float32 in the order of Hugging Face."
              + " Default: ${DEFAULT-VALUE}.")
  Angles angles;

  @Option(
      names = "--rounding",
      paramLabel = "R",
      defaultValue = "compute",
      description =
          "Where a turned value is rounded: once, at the end (compute), or each product and the sum"
              + " (input). Default: ${DEFAULT-VALUE}.")
  RotaryRounding rounding;

  @Option(
      names = "--table-dtype",
      paramLabel = "TYPE",
      description = "The type of cos and sin: float32, bfloat16 or float16. Default: that of q.")
  DType tableDType;

  @Mixin ExpectOptions expectation;

  @Override
  public Integer call() throws IOException {
    return new RotaryApplication(Context.of(spec), this).run();
  }
}
