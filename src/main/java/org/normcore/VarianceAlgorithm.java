package org.normcore;

/**
 * How LayerNorm computes the variance of a row, in the {@link ComputeType}. RMSNorm has no variance
 * and ignores this.
 *
 * <p>The three agree except for the last bits if the mean is small relative to the standard
 * deviation; otherwise {@link #TWO_PASS} is the most accurate.
 *
 * <p>All three are limited by the mean, which has the precision of the compute type. For a constant
 * row {@link #WELFORD} gives {@code y = 0} before the bias. The other two do so if the sum of the
 * row is exact, as in float32 for up to 4096 values of 16 bits. For other values the mean may be
 * off by a unit in the last place or more. If the square of that error is not small relative to
 * epsilon, {@code |y|} may be any value below 1. If such rows occur, use {@link #WELFORD} or
 * float64 as the compute type.
 */
public enum VarianceAlgorithm {
  /** {@code sum((x - mean)^2) / N} with the mean computed first. The default; the most accurate. */
  TWO_PASS,
  /** Welford's running mean and sum of squared deviations, merged pairwise. */
  WELFORD,
  /**
   * {@code E[x^2] - E[x]^2}, clamped at 0. Loses digits if the mean is large relative to the
   * standard deviation.
   */
  SUM_OF_SQUARES
}
