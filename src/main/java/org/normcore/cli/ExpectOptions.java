package org.normcore.cli;

import java.nio.file.Path;
import picocli.CommandLine.Option;

/** The options of the comparison of an operation's results. */
final class ExpectOptions {
  @Option(
      names = "--expect",
      paramLabel = "FILE",
      description = "Compare the results with the tensors of the same names in this file.")
  Path expect;

  @Option(
      names = "--max-ulp",
      paramLabel = "N",
      description =
          "With --expect: exit with status 1 if any element differs by more, in units in the last"
              + " place.")
  Long maxUlp;
}
