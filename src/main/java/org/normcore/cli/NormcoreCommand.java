package org.normcore.cli;

import org.normcore.cli.audit.AuditCommand;
import org.normcore.cli.bench.BenchCommand;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** The top-level command, with the options of all subcommands. */
@Command(
    name = "normcore",
    sortOptions = false,
    description =
        "Fused RMSNorm and LayerNorm, rotary position embedding and FP8, with a selectable"
            + " rounding.",
    synopsisSubcommandLabel = "COMMAND",
    versionProvider = VersionProvider.class,
    subcommands = {AuditCommand.class, ApplyCommand.class, BenchCommand.class, InfoCommand.class},
    exitCodeListHeading = "%nExit status:%n",
    exitCodeList = {
      " 0:success",
      " 1:failure, or a comparison exceeded its limit",
      " 2:invalid usage or input; see the message on standard error"
    })
public final class NormcoreCommand implements Runnable {
  /** The largest number of threads that a norm accepts. */
  static final int MOST_THREADS = 1024;

  @Spec private CommandSpec spec;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      scope = ScopeType.INHERIT,
      description = "Show this help.")
  private boolean help;

  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      description = "Show the version.")
  private boolean version;

  @Option(
      names = "--json",
      scope = ScopeType.INHERIT,
      description = "Print one JSON document on standard output and nothing else.")
  private boolean json;

  @Option(
      names = "--device",
      scope = ScopeType.INHERIT,
      paramLabel = "DEVICE",
      defaultValue = "cpu",
      description = "cpu, cuda or cuda:K. Default: ${DEFAULT-VALUE}.")
  private String device;

  @Option(
      names = "--threads",
      scope = ScopeType.INHERIT,
      paramLabel = "N",
      description =
          "Threads on the CPU, 1 to "
              + MOST_THREADS
              + ". Default: one per processor. Results do not depend on it.")
  private Integer threads;

  boolean json() {
    return json;
  }

  String device() {
    return device;
  }

  int threads() {
    return threads == null
        ? Math.min(Runtime.getRuntime().availableProcessors(), MOST_THREADS)
        : threads;
  }

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(), "A command is missing: audit, apply, bench or info");
  }
}
