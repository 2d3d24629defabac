package org.normcore.bench;

/**
 * What a call through the Java interface costs, in a process of its own.
 *
 * @param call which
 * @param nanos medians
 * @param bareNanos the bare native calls with the same addresses; NaN where that is not one call
 * @param bytes allocated on the Java heap per call
 */
record JavaCost(String call, int threads, double nanos, double bareNanos, double bytes) {
  /** More than that is an allocation: JMH's own come to a small part of a byte per call. */
  private static final double NOISE = 0.5;

  double overNative() {
    return nanos - bareNanos;
  }

  boolean allocates() {
    return bytes >= NOISE;
  }
}
