package org.normcore.bench;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * Measures the cost of the Java interface: in one thread the time over the bare native calls, for
 * the smallest sensible norm and for one row of a usual size; the allocated bytes there and in a
 * call with two threads.
 */
final class JavaCosts {
  private static final List<Direction> CALLS =
      List.of(Direction.INFERENCE, Direction.FORWARD, Direction.BACKWARD);
  private static final List<String> ALONE = List.of("1x8", "1x4096");
  private static final String SPLIT = "128x4096";
  private static final TimeValue AVERAGED = TimeValue.milliseconds(300);

  /** Longer for long calls, so that many calls share JMH's own allocations. */
  private static final TimeValue AVERAGED_SPLIT = TimeValue.seconds(1);

  private static final int WARM_UP = 2;
  private static final int AVERAGES = 3;
  private static final int FORKS = 2;
  private static final String ALLOCATED = "gc.alloc.rate.norm";

  private JavaCosts() {}

  static List<JavaCost> measure(PrintStream progress) {
    List<JavaCost> costs = new ArrayList<>();
    for (Direction call : CALLS) {
      for (String shape : ALONE) {
        progress.printf("Java interface: %s %s%n", call.label(), shape);
        RunResult java = run("java", call, shape, 1);
        RunResult bare = run("bare", call, shape, 1);
        costs.add(
            new JavaCost(
                call.label() + " " + shape, 1, median(java), median(bare), allocated(java)));
      }
      progress.printf("Java interface: %s %s, 2 threads%n", call.label(), SPLIT);
      RunResult split = run("java", call, SPLIT, 2);
      costs.add(new JavaCost(call.label() + " " + SPLIT, 2, median(split), null, allocated(split)));
    }
    return costs;
  }

  private static RunResult run(String method, Direction call, String shape, int threads) {
    TimeValue averaged = threads == 1 ? AVERAGED : AVERAGED_SPLIT;
    try {
      Collection<RunResult> results =
          new Runner(
                  new OptionsBuilder()
                      .include(Rounds.pattern(CallBenchmark.class, method))
                      .param("direction", call.label())
                      .param("shape", shape)
                      .param("threads", Integer.toString(threads))
                      .forks(FORKS)
                      .warmupIterations(WARM_UP)
                      .warmupTime(averaged)
                      .measurementIterations(AVERAGES)
                      .measurementTime(averaged)
                      .addProfiler(GCProfiler.class)
                      .shouldFailOnError(true)
                      .verbosity(VerboseMode.SILENT)
                      .build())
              .run();
      return results.iterator().next();
    } catch (RunnerException e) {
      throw new IllegalStateException("measuring " + call + " failed", e);
    }
  }

  private static double median(RunResult result) {
    return Samples.of(Rounds.nanos(result)).median();
  }

  private static double allocated(RunResult result) {
    String name =
        result.getSecondaryResults().keySet().stream()
            .filter(key -> key.endsWith(ALLOCATED))
            .findFirst()
            .orElseThrow();
    return result.getSecondaryResults().get(name).getScore();
  }
}
