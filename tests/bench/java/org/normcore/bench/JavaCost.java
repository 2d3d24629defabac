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
  /**
   * What JMH itself allocates, some 8 KiB per iteration, is part of the count: a few bytes per call
   * at most. An object per call would be more than half of this.
   */
  static final double SMALLEST_OBJECT = 16;

  double overNative() {
    return nanos - bareNanos;
  }
}
