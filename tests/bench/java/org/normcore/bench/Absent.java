package org.normcore.bench;

/** A library does not support a workload; the message gives the reason. */
final class Absent extends Exception {
  private static final long serialVersionUID = 1;

  Absent(String reason) {
    super(reason);
  }
}
