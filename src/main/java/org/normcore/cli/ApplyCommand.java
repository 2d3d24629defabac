package org.normcore.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** The parent of the commands that run an operation on the tensors of a file. */
@Command(
    name = "apply",
    sortOptions = false,
    description = "Run an operation on the tensors of a safetensors file, forward and backward.",
    synopsisSubcommandLabel = "OPERATION",
    subcommands = {
      ApplyRmsNormCommand.class,
      ApplyLayerNormCommand.class,
      ApplyRotaryCommand.class,
      ApplyFp8Command.class
    })
public final class ApplyCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(), "An operation is missing: rms-norm, layer-norm, rotary or fp8");
  }
}
