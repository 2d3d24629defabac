package org.normcore.bench;

/** A library to be measured, in one of its settings. */
interface Library {
  /** As tables show it. */
  String name();

  String version();

  /** What readers of its figures should know; may be empty. */
  default String remark() {
    return "";
  }

  /**
   * Prepares a workload.
   *
   * @throws Absent if the library has nothing for it
   */
  Contender prepare(Workload workload, Tensors tensors) throws Absent;
}
