package org.normcore;

/**
 * How each quantisation of an {@link Fp8Parameter} obtains its scale. {@link Fp8Scaling} defines
 * {@code scaleOf} and {@code amax}.
 */
public enum Fp8Recipe {
  /**
   * One scale, {@code scaleOf(amax)} of the data itself: one pass for {@code amax}, one to
   * quantise.
   */
  CURRENT,
  /**
   * One scale, {@code scaleOf} of the largest {@code amax} in the history of past quantisations:
   * one pass, which also records the data's own {@code amax} for the next quantisation. The first
   * quantisation has no history and uses the data's own {@code amax}, so that small values do not
   * underflow under a scale of 1. While the history contains an infinite {@code amax}, or only
   * zeros, the scale is 1.
   */
  DELAYED,
  /** One scale, set by the caller. The data's {@code amax} is still recorded. */
  GIVEN,
  /** One power of two for each block of 32 elements of a row: {@link Fp8Scaling#BLOCK}. */
  MXFP8;

  /** Returns the scaling: one scale, or one per block. */
  public Fp8Scaling scaling() {
    return this == MXFP8 ? Fp8Scaling.BLOCK : Fp8Scaling.TENSOR;
  }
}
