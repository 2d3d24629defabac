package org.normcore;

/**
 * How LayerNorm forms the variance of a row, in the {@link ComputeType}. RMSNorm has no variance
 * and ignores it.
 *
 * <p>The three agree to the last bits where the mean is small beside the spread; where it is not,
 * {@link #TWO_PASS} is the accurate one.
 *
 * <p>The limit of all of them is the mean, a number of the compute type. On a row of one and the
 * same value {@link #WELFORD} gives {@code y = 0} before the bias. The other two do so where the
 * sum of the row is exact, as it is in float32 for 16-bit values and up to 4096 of them. For other
 * values the mean may be off by a unit in the last place or more, and if the square of that is not
 * small beside epsilon, {@code |y|} may be anything below 1: choose float64 as the compute type, or
 * {@link #WELFORD}, where such rows occur.
 */
public enum VarianceAlgorithm {
  /** {@code sum((x - mean)^2) / N} with the mean formed first. The default; the most accurate. */
  TWO_PASS,
  /** Welford's running mean and sum of squared deviations, merged pairwise. */
  WELFORD,
  /**
   * {@code E[x^2] - E[x]^2}, clamped at 0. Loses digits when the mean is large beside the spread.
   */
  SUM_OF_SQUARES
}
