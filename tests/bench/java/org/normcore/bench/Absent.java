package org.normcore.bench;

/** A library has nothing for a workload; the message says why. */
final class Absent extends Exception {
  private static final long serialVersionUID = 1;

  Absent(String reason) {
    super(reason);
  }
}
