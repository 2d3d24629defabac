package org.normcore.bench;

import java.math.BigDecimal;
import java.math.MathContext;

/**
 * A summary of {@link Samples} for reports, in rounded nanoseconds.
 *
 * @param q1 the lower quartile
 * @param q3 the upper quartile
 * @param samples their number
 */
record Summary(double median, double q1, double q3, int samples) {
  /** The digits that reports show; repeated measurements agree in fewer. */
  private static final MathContext DIGITS = new MathContext(5);

  Summary {
    median = rounded(median);
    q1 = rounded(q1);
    q3 = rounded(q3);
  }

  static double rounded(double value) {
    return new BigDecimal(value).round(DIGITS).doubleValue();
  }
}
