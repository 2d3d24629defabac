package org.normcore.cli;

import java.nio.file.Path;
import picocli.CommandLine.Option;

/** The input and output files of an operation. */
final class FileOptions {
  @Option(names = "--in", required = true, paramLabel = "FILE", description = "The file to read.")
  Path in;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description = "The file to write. Optional with --expect.")
  Path out;

  /** Checks the options before the computation. */
  static void check(FileOptions files, ExpectOptions expectation) {
    if (files.out == null && expectation.expect == null) {
      throw new BadInput(
          "--out is missing: expected the file to write, or --expect to compare only");
    }
    if (expectation.maxUlp != null && expectation.expect == null) {
      throw new BadInput("--max-ulp needs --expect, the file of the comparison");
    }
    if (expectation.maxUlp != null && expectation.maxUlp < 0) {
      throw new BadInput("--max-ulp is " + expectation.maxUlp + ", expected at least 0");
    }
  }
}
