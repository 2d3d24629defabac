package org.normcore;

/** What the residual-fused form normalises; {@code I} is the input's dtype. */
public enum ResidualRounding {
  /**
   * The rounded sum: {@code s = rd_I(x + residual)} is stored and normalised, as a framework that
   * adds and then normalises does it. The default.
   */
  INPUT,
  /**
   * The unrounded sum: {@code x + residual} is normalised, {@code rd_I(x + residual)} is stored.
   */
  COMPUTE
}
