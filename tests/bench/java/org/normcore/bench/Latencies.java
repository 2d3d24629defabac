package org.normcore.bench;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.normcore.DType;
import org.normcore.NormKind;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/** Measures calls on one row, each contender in a separate process. */
final class Latencies {
  private static final Shape ROW = Shape.parse("1x4096");
  private static final int WARM_UP = 3;
  private static final int AVERAGES = 8;
  private static final TimeValue AVERAGED = TimeValue.milliseconds(100);

  private Latencies() {}

  /** A contender as the parameter of a benchmark. */
  record Entrant(NormKind kind, Direction direction, DType dtype, String library) {
    static Entrant parse(String text) {
      String[] parts = text.split("/");
      return new Entrant(
          Names.parse(NormKind.class, parts[0]),
          Names.parse(Direction.class, parts[1]),
          Names.parse(DType.class, parts[2]),
          parts[3]);
    }

    Workload workload() {
      return new Workload(kind, direction, dtype, dtype, ROW, 1);
    }

    @Override
    public String toString() {
      return String.join("/", Names.of(kind), Names.of(direction), Names.of(dtype), library);
    }
  }

  static List<Latency> measure(Plan plan, List<DType> dtypes, PrintStream progress) {
    List<Entrant> entrants = entrants(plan, dtypes);
    List<Latency> latencies = new ArrayList<>();
    for (Entrant entrant : entrants) {
      progress.printf("[%d/%d] latency %s%n", latencies.size() + 1, entrants.size(), entrant);
      latencies.add(new Latency(entrant.workload(), entrant.library(), time(entrant)));
    }
    return latencies;
  }

  /** The contenders that support a workload and pass the check. */
  private static List<Entrant> entrants(Plan plan, List<DType> dtypes) {
    List<Entrant> entrants = new ArrayList<>();
    for (DType dtype : dtypes) {
      try (Tensors tensors = new Tensors(ROW, dtype, dtype)) {
        for (NormKind kind : plan.kinds()) {
          List<Workload> workloads =
              plan.directions().stream()
                  .filter(direction -> direction != Direction.RESIDUAL)
                  .map(direction -> new Workload(kind, direction, dtype, dtype, ROW, 1))
                  .toList();
          try (Session session = new Session(workloads, tensors)) {
            for (Session.Entrant entrant : session.contenders().keySet()) {
              if (Libraries.isMeasuredAlone(entrant.library())) {
                entrants.add(new Entrant(kind, entrant.direction(), dtype, entrant.library()));
              }
            }
          }
        }
      }
    }
    return entrants;
  }

  private static Summary time(Entrant entrant) {
    try {
      Collection<RunResult> results =
          new Runner(
                  new OptionsBuilder()
                      .include(Rounds.pattern(LatencyBenchmark.class, "call"))
                      .param("entrant", entrant.toString())
                      .forks(1)
                      .warmupIterations(WARM_UP)
                      .warmupTime(AVERAGED)
                      .measurementIterations(AVERAGES)
                      .measurementTime(AVERAGED)
                      .shouldFailOnError(true)
                      .verbosity(VerboseMode.SILENT)
                      .build())
              .run();
      return Samples.of(results.stream().flatMap(result -> Rounds.nanos(result).stream()).toList())
          .summary();
    } catch (RunnerException e) {
      throw new IllegalStateException("measuring " + entrant + " failed", e);
    }
  }
}
