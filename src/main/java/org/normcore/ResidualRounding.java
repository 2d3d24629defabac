package org.normcore;

/**
 * Whether the residual-fused form normalises the rounded or the unrounded sum; {@code I} is the
 * input dtype.
 */
public enum ResidualRounding {
  /**
   * The rounded sum: {@code s = rd_I(x + residual)} is stored and normalised, as in a framework
   * that adds first and then normalises. The default.
   */
  INPUT,
  /**
   * The unrounded sum: {@code x + residual} is normalised, {@code rd_I(x + residual)} is stored.
   */
  COMPUTE
}
