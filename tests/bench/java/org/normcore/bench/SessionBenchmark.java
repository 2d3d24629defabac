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
 * One call of a contender that this process has prepared before: generating the tensors and loading
 * the peers' natives for each figure would take too long.
 */
@State(Scope.Benchmark)
public class SessionBenchmark {
  private static final Map<String, Contender> CONTENDERS = new HashMap<>();

  /** The contender's position in the session. */
  @Param("")
  public String entrant;

  private Contender contender;

  /** Sets the contenders of the benchmark. */
  static void enter(Map<Session.Entrant, Contender> contenders) {
    CONTENDERS.clear();
    contenders.forEach((entrant, contender) -> CONTENDERS.put(entrant.toString(), contender));
  }

  /** Finds the contender, in the measuring thread. */
  @Setup(Level.Trial)
  public void begin() {
    contender = CONTENDERS.get(entrant);
    contender.begin();
  }

  /** Releases the contender. */
  @TearDown(Level.Trial)
  public void end() {
    contender.end();
  }

  /** Runs the timed call. */
  @Benchmark
  public void call() {
    contender.run();
  }
}
