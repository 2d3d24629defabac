package org.normcore.cli;

import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import org.normcore.AnglePrecision;
import org.normcore.ComputeType;
import org.normcore.DType;
import org.normcore.Fp8Scaling;
import org.normcore.GammaOffset;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.ResidualRounding;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import org.normcore.ScaleRounding;
import org.normcore.VarianceAlgorithm;
import org.normcore.cli.bench.BenchOp;
import picocli.CommandLine;

/** The command line's entry point. */
public final class Main {
  private Main() {}

  /** Runs one command and exits with its status. */
  public static void main(String[] args) {
    // JSON is UTF-8 whatever the locale is.
    PrintWriter out = new PrintWriter(System.out, false, StandardCharsets.UTF_8);
    PrintWriter err = new PrintWriter(System.err, true, StandardCharsets.UTF_8);
    System.exit(run(out, err, args));
  }

  /**
   * Runs one command within this process.
   *
   * @return the exit status
   */
  public static int run(PrintWriter out, PrintWriter err, String... args) {
    try {
      return commandLine(out, err).execute(args);
    } catch (OutOfMemoryError | LinkageError e) {
      return Failures.report(err, e);
    } finally {
      out.flush();
      err.flush();
    }
  }

  private static CommandLine commandLine(PrintWriter out, PrintWriter err) {
    CommandLine line = new CommandLine(new NormcoreCommand());
    line.setOut(out);
    line.setErr(err);
    line.setParameterExceptionHandler(Failures::ofUsage);
    line.setExecutionExceptionHandler((e, command, parsed) -> Failures.report(command.getErr(), e));
    line.setAbbreviatedOptionsAllowed(false);
    line.setUsageHelpAutoWidth(true);
    line.registerConverter(NormPolicy.class, OptionNames::parsePolicy);
    line.registerConverter(DType.class, OptionNames::parseDType);
    registerEnum(line, NormKind.class);
    registerEnum(line, ScaleRounding.class);
    registerEnum(line, GammaOffset.class);
    registerEnum(line, VarianceAlgorithm.class);
    registerEnum(line, ComputeType.class);
    registerEnum(line, ResidualRounding.class);
    registerEnum(line, Fp8Scaling.class);
    registerEnum(line, ApplyFp8Command.Format.class);
    registerEnum(line, ApplyFp8Command.Scaling.class);
    registerEnum(line, BenchOp.class);
    registerEnum(line, AnglePrecision.class);
    registerEnum(line, RotaryLayout.class);
    registerEnum(line, RotaryRounding.class);
    return line;
  }

  private static <E extends Enum<E>> void registerEnum(CommandLine line, Class<E> type) {
    line.registerConverter(type, text -> OptionNames.parse(type, text));
  }
}
