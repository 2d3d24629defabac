package org.normcore.bench;

/** One library's way to do one workload, ready to run. */
interface Contender extends AutoCloseable {
  /** Prepares the measuring thread. */
  default void begin() {}

  /** What is timed. */
  void run();

  /** Runs with the results where {@link Tensors} wants them, to be checked. */
  default void runIntoTensors() {
    run();
  }

  /** Leaves the measuring thread as it was. */
  default void end() {}

  @Override
  void close();
}
