package org.normcore;

/**
 * Where the scale of an {@link Fp8Parameter} comes from, each time it is quantised. {@code scaleOf}
 * and {@code amax} are those of {@link Fp8Scaling}.
 */
public enum Fp8Recipe {
  /**
   * One scale, {@code scaleOf(amax)} of the data itself: one pass over them for {@code amax}, one
   * to quantise.
   */
  CURRENT,
  /**
   * One scale, {@code scaleOf} of the largest {@code amax} of the last quantisations, as many as
   * the history is long: one pass, in which the data's own {@code amax} is taken for the next time.
   * The first quantisation, which has no history, takes the data's own {@code amax}, so that small
   * values do not vanish under a scale of 1. As long as the history holds an infinite {@code amax},
   * or nothing but zeros, the scale is 1.
   */
  DELAYED,
  /** One scale, which the caller gives. The data's {@code amax} is taken all the same. */
  GIVEN,
  /** One power of two for each block of 32 elements of a row: {@link Fp8Scaling#BLOCK}. */
  MXFP8;

  /** Returns the scaling that it makes: one scale, or one for each block. */
  public Fp8Scaling scaling() {
    return this == MXFP8 ? Fp8Scaling.BLOCK : Fp8Scaling.TENSOR;
  }
}
