package org.normcore.bench;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import org.normcore.DType;
import org.normcore.NormKind;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Measures and writes the reports. */
@Command(
    name = "bench",
    sortOptions = false,
    mixinStandardHelpOptions = true,
    description = "Compares the CPU backend with PyTorch, oneDNN, ONNX Runtime and plain copies.")
final class Main implements Callable<Integer> {
  @Option(
      names = "--quick",
      description =
          "Three shapes, float32 and bfloat16, shorter turns; latency in float32 only; without the"
              + " cost of the Java interface.")
  private boolean quick;

  @Option(names = "--shapes", split = ",", paramLabel = "ROWSxHIDDEN")
  private List<Shape> shapes;

  @Option(names = "--dtypes", split = ",", paramLabel = "TYPE")
  private List<DType> dtypes;

  @Option(names = "--norms", split = ",", paramLabel = "NORM")
  private List<NormKind> kinds = List.of(NormKind.RMS_NORM, NormKind.LAYER_NORM);

  @Option(names = "--directions", split = ",", paramLabel = "DIRECTION")
  private List<Direction> directions = List.of(Direction.values());

  @Option(names = "--threads", split = ",", paramLabel = "N")
  private List<Integer> threads = List.of(1, 2);

  @Option(
      names = "--parts",
      split = ",",
      paramLabel = "PART",
      description = "throughput, latency, java. Default: all.")
  private List<Part> parts;

  @Option(names = "--rounds", paramLabel = "N")
  private Integer rounds;

  @Option(names = "--millis", paramLabel = "MS", description = "The length of a turn.")
  private Integer millis;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      defaultValue = "target/bench",
      description = "Default: ${DEFAULT-VALUE}.")
  private Path out;

  @Option(
      names = "--name",
      paramLabel = "NAME",
      defaultValue = "bench",
      description = "The prefix of the file names. Default: ${DEFAULT-VALUE}.")
  private String name;

  @Option(
      names = "--report",
      paramLabel = "FILE.json",
      description = "Measures nothing, but writes the tables and plots of a saved run.")
  private Path report;

  enum Part {
    THROUGHPUT,
    LATENCY,
    JAVA
  }

  /** Exits with 0 on success, 2 on invalid options, 1 on any other failure. */
  public static void main(String[] args) {
    System.exit(command().execute(args));
  }

  static CommandLine command() {
    CommandLine command = new CommandLine(new Main());
    command.registerConverter(Shape.class, Shape::parse);
    command.registerConverter(DType.class, text -> Names.parse(DType.class, text));
    command.registerConverter(NormKind.class, text -> Names.parse(NormKind.class, text));
    command.registerConverter(Direction.class, text -> Names.parse(Direction.class, text));
    command.registerConverter(Part.class, text -> Names.parse(Part.class, text));
    return command;
  }

  @Override
  public Integer call() throws IOException {
    PrintStream progress = System.err;
    if (report != null) {
      String saved = report.getFileName().toString().replaceFirst("\\.json$", "");
      Reports.render(JsonReport.read(Files.readString(report)), out, saved)
          .forEach(file -> progress.println("wrote " + file));
      return 0;
    }
    if (!Malloc.hasOneArena()) {
      throw new IllegalStateException(
          "MALLOC_ARENA_MAX: expected 1 in the environment, as mvn -Pbench verify sets it");
    }
    if (dtypes == null) {
      dtypes =
          quick
              ? List.of(DType.FLOAT32, DType.BFLOAT16)
              : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16);
    }
    if (shapes == null) {
      shapes = quick ? Plan.QUICK_SHAPES : Plan.SHAPES;
    }
    if (parts == null) {
      parts = quick ? List.of(Part.THROUGHPUT, Part.LATENCY) : List.of(Part.values());
    }
    Plan plan =
        new Plan(shapes, dtypes, kinds, directions, threads, quick ? List.of() : Plan.MIXED_SHAPES);
    Effort usual = quick ? Effort.QUICK : Effort.FULL;
    Effort effort =
        new Effort(
            rounds == null ? usual.rounds() : rounds,
            millis == null ? usual.millis() : millis,
            usual.warmUpMillis());
    List<Measurement> table =
        parts.contains(Part.THROUGHPUT) ? new Table(effort, progress).measure(plan) : List.of();
    Run run =
        new Run(
            Machine.description(),
            Run.versions(),
            Machine.lastCacheBytes(),
            effort,
            table,
            null,
            null);
    // Saves the longest measurement in case the rest fails.
    Reports.write(run, out, name);
    if (parts.contains(Part.LATENCY)) {
      run =
          run.withLatencies(
              Latencies.measure(plan, quick ? dtypes.subList(0, 1) : dtypes, progress));
      Reports.write(run, out, name);
    }
    if (parts.contains(Part.JAVA)) {
      run = run.withCosts(JavaCosts.measure(progress));
    }
    Reports.write(run, out, name).forEach(file -> progress.println("wrote " + file));
    return 0;
  }
}
