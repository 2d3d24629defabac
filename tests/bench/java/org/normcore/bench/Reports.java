package org.normcore.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Writes the results to files. */
final class Reports {
  private Reports() {}

  /** Returns the files: JSON, plots, tables. */
  static List<Path> write(Run run, Path directory, String name) throws IOException {
    Files.createDirectories(directory);
    List<Path> files = new ArrayList<>();
    files.add(Files.writeString(directory.resolve(name + ".json"), JsonReport.text(run)));
    files.addAll(render(run, directory, name));
    return files;
  }

  /** Returns the files that follow from the JSON: plots, tables. */
  static List<Path> render(Run run, Path directory, String name) throws IOException {
    Files.createDirectories(directory);
    List<Path> files = new ArrayList<>();
    List<String> plots = new ArrayList<>();
    for (Plot.Subject subject : Plot.subjects(run)) {
      String file = name + "-" + subject + ".svg";
      files.add(Files.writeString(directory.resolve(file), Plot.svg(run, subject)));
      plots.add(file);
    }
    List<Target> targets = new Targets(run.table(), run.cacheBytes()).judge(run);
    files.add(
        Files.writeString(
            directory.resolve(name + ".md"), MarkdownReport.text(run, targets, plots)));
    return files;
  }
}
