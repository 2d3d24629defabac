package org.normcore;

/** The two norms. */
public enum NormKind {
  /** {@code xhat = x * rstd} with {@code rstd = 1/sqrt(mean(x^2) + epsilon)}: {@link RmsNorm}. */
  RMS_NORM,
  /**
   * {@code xhat = (x - mean) * rstd} with {@code rstd = 1/sqrt(var(x) + epsilon)}: {@link
   * LayerNorm}.
   */
  LAYER_NORM
}
