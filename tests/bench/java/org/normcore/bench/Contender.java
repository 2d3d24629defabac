package org.normcore.bench;

/** One library's way to do one workload, ready to run. */
interface Contender extends AutoCloseable {
  /** Prepares the measuring thread. */
  default void begin() {}

  /** Runs the timed code. */
  void run();

  /** Runs with the results in {@link Tensors}, for the check. */
  default void runIntoTensors() {
    run();
  }

  /** Restores the state of the measuring thread. */
  default void end() {}

  @Override
  void close();
}
