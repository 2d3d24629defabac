package org.normcore.cli;

import java.nio.file.Path;
import picocli.CommandLine.Option;

/** What the results of an operation are compared with. */
final class ExpectOptions {
  @Option(
      names = "--expect",
      paramLabel = "FILE",
      description = "Compare what was computed with the tensors of the same names in this file.")
  Path expect;

  @Option(
      names = "--max-ulp",
      paramLabel = "N",
      description =
          "With --expect: exit with status 1 if any element is further off, in units in the last"
              + " place.")
  Long maxUlp;
}
