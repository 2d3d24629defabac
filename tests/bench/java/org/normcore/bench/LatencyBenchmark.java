package org.normcore.bench;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/** One call of one contender on one row, in one thread. Runs in a separate process. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class LatencyBenchmark {
  /** A {@link Latencies.Entrant}. */
  @Param("")
  public String entrant;

  private Tensors tensors;
  private Contender contender;

  /** Prepares the contender. */
  @Setup(Level.Trial)
  public void begin() throws Absent {
    Latencies.Entrant parsed = Latencies.Entrant.parse(entrant);
    Workload workload = parsed.workload();
    tensors = new Tensors(workload.shape(), workload.dtype(), workload.weightType());
    contender = Libraries.named(parsed.library()).prepare(workload, tensors);
    contender.begin();
  }

  /** Releases the contender. */
  @TearDown(Level.Trial)
  public void end() {
    contender.end();
    contender.close();
    tensors.close();
  }

  /** Runs the timed call. */
  @Benchmark
  public void call() {
    contender.run();
  }
}
