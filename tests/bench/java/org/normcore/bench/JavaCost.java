package org.normcore.bench;

import org.jspecify.annotations.Nullable;

/**
 * The cost of a call through the Java interface, measured in a separate process.
 *
 * @param call the name of the call
 * @param nanos the median times
 * @param bareNanos the median times of the bare native call with the same addresses; null if that
 *     is not one call
 * @param bytes allocated on the Java heap per call
 */
record JavaCost(String call, int threads, double nanos, @Nullable Double bareNanos, double bytes) {
  /**
   * The count includes JMH's own allocations, about 8 KiB per iteration: at most a few bytes per
   * call. An object per call would be more than half of this.
   */
  static final double SMALLEST_OBJECT = 16;

  JavaCost {
    nanos = Summary.rounded(nanos);
    bareNanos = bareNanos == null ? null : Summary.rounded(bareNanos);
    bytes = Summary.rounded(bytes);
  }

  @Nullable Double overNative() {
    return bareNanos == null ? null : nanos - bareNanos;
  }
}
