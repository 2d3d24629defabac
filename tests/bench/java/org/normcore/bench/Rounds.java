package org.normcore.bench;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Pattern;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * Measures the contenders of a session in rounds: each round runs every contender once, so that
 * other load affects all alike; every second round runs in reverse order.
 */
final class Rounds {
  /**
   * From this many bytes on each call is timed. Below, the cost of the clock would matter, so
   * samples are averages over many calls.
   */
  private static final long TIMED_ONE_BY_ONE = 1 << 20;

  /** The number of averages per turn. */
  private static final int AVERAGES = 4;

  private final Effort effort;

  Rounds(Effort effort) {
    this.effort = effort;
  }

  Map<Session.Entrant, Samples> measure(
      Map<Session.Entrant, Contender> contenders, long tensorBytes) {
    SessionBenchmark.enter(contenders);
    List<String> order = new ArrayList<>();
    contenders.keySet().forEach(entrant -> order.add(entrant.toString()));
    Map<String, List<Double>> times = new HashMap<>();
    for (int round = 0; round < effort.rounds(); round++) {
      for (RunResult result : run(order, tensorBytes >= TIMED_ONE_BY_ONE)) {
        String entrant = result.getParams().getParam("entrant");
        times.computeIfAbsent(entrant, l -> new ArrayList<>()).addAll(nanos(result));
      }
      Collections.reverse(order);
    }
    Map<Session.Entrant, Samples> samples = new HashMap<>();
    contenders
        .keySet()
        .forEach(entrant -> samples.put(entrant, Samples.of(times.get(entrant.toString()))));
    return samples;
  }

  private Collection<RunResult> run(List<String> order, boolean oneByOne) {
    int iterations = oneByOne ? 1 : AVERAGES;
    ChainedOptionsBuilder options =
        new OptionsBuilder()
            .include(pattern(SessionBenchmark.class, "call"))
            .param("entrant", order.toArray(String[]::new))
            .mode(oneByOne ? Mode.SampleTime : Mode.AverageTime)
            .timeUnit(TimeUnit.NANOSECONDS)
            .forks(0)
            .threads(1)
            .warmupIterations(1)
            .warmupTime(TimeValue.milliseconds(effort.warmUpMillis()))
            .measurementIterations(iterations)
            .measurementTime(TimeValue.milliseconds(Math.max(1, effort.millis() / iterations)))
            .shouldFailOnError(true)
            .verbosity(VerboseMode.SILENT);
    try {
      return new Runner(options.build()).run();
    } catch (RunnerException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The pattern that matches a single benchmark. */
  static String pattern(Class<?> type, String method) {
    return "^" + Pattern.quote(type.getName() + "." + method) + "$";
  }

  /** All samples of a benchmark. */
  static List<Double> nanos(RunResult result) {
    List<Double> nanos = new ArrayList<>();
    for (BenchmarkResult benchmark : result.getBenchmarkResults()) {
      for (IterationResult iteration : benchmark.getIterationResults()) {
        Result<?> primary = iteration.getPrimaryResult();
        primary
            .getStatistics()
            .getRawData()
            .forEachRemaining(
                entry ->
                    nanos.addAll(Collections.nCopies(entry.getValue().intValue(), entry.getKey())));
      }
    }
    return nanos;
  }
}
