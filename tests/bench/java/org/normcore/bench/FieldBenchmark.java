package org.normcore.bench;

import java.util.HashMap;
import java.util.Map;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * One call of a contender that was prepared before, in this process: the tensors are too large to
 * be drawn, and the peers' natives to be loaded, for every figure anew.
 */
@State(Scope.Benchmark)
public class FieldBenchmark {
  private static final Map<String, Contender> CONTENDERS = new HashMap<>();

  /** The contender's place in the field. */
  @Param("")
  public String lane;

  private Contender contender;

  /** Makes contenders known to the benchmark, in place of those before. */
  static void enter(Map<Field.Lane, Contender> contenders) {
    CONTENDERS.clear();
    contenders.forEach((lane, contender) -> CONTENDERS.put(lane.toString(), contender));
  }

  /** Looks the contender up, in the measuring thread. */
  @Setup(Level.Trial)
  public void begin() {
    contender = CONTENDERS.get(lane);
    contender.begin();
  }

  /** Lets go of it. */
  @TearDown(Level.Trial)
  public void end() {
    contender.end();
  }

  /** What is timed. */
  @Benchmark
  public void call() {
    contender.run();
  }
}
