package org.normcore;

/**
 * How LayerNorm forms the variance of a row, in the {@link ComputeType}. RMSNorm has no variance
 * and ignores it.
 *
 * <p>The three agree to the last bits where the mean is small beside the spread; where it is not,
 * {@link #TWO_PASS} is the accurate one.
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
