package org.normcore.cli;

import java.nio.file.Path;
import picocli.CommandLine.Option;

/** Which files an operation reads, writes and compares with. */
final class FileOptions {
  @Option(
      names = "--in",
      required = true,
      paramLabel = "FILE",
      description = "The tensors to read.")
  Path in;

  @Option(
      names = "--out",
      paramLabel = "FILE",
      description = "The file to write. It may be left out if --expect is given.")
  Path out;

  /** Checks what can be checked before the work. */
  static void check(FileOptions files, ExpectOptions expectation) {
    if (files.out == null && expectation.expect == null) {
      throw new BadInput(
          "--out is missing: expected the file to write, or --expect to compare with only");
    }
    if (expectation.maxUlp != null && expectation.expect == null) {
      throw new BadInput("--max-ulp needs --expect, the file to compare with");
    }
    if (expectation.maxUlp != null && expectation.maxUlp < 0) {
      throw new BadInput("--max-ulp is " + expectation.maxUlp + ", expected at least 0");
    }
  }
}
