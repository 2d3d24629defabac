package org.normcore.bench;

/** A measured library, in one configuration. */
interface Library {
  /** The name in tables. */
  String name();

  String version();

  /** A remark on its figures; may be empty. */
  default String remark() {
    return "";
  }

  /**
   * Prepares a workload.
   *
   * @throws Absent if the library does not support it
   */
  Contender prepare(Workload workload, Tensors tensors) throws Absent;
}
