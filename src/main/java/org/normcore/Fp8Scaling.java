package org.normcore;

import org.normcore.internal.Codes;

/**
 * How values are scaled into an FP8 format: {@code q = rd(v * scale)}, and back {@code v = q *
 * scaleInv}. {@code rd} rounds to nearest even and saturates; NaN stays NaN.
 *
 * <p>{@code amax} is the largest {@code |v|}; NaN is ignored, infinity counts. {@code largest} is
 * the largest value of the format: 448 for E4M3, 57344 for E5M2. All arithmetic is in float32,
 * products in norms in the compute type.
 *
 * <p>{@code scaleOf(amax) = largest / amax / 2^margin}, clamped to float32's normal numbers and
 * optionally rounded down to a power of two. The scale is 1 if amax is 0, negative, infinite or
 * NaN.
 */
public enum Fp8Scaling {
  /**
   * One float32 scale for the whole tensor: {@code scaleOf(amax)}, or the caller's. {@code scaleInv
   * = 1 / scale}.
   */
  TENSOR,
  /**
   * One float32 scale per row: {@code scaleOf(amax of the row)}. {@code scaleInv = 1 / scale}, of
   * shape {@code [rows]}.
   */
  ROW,
  /**
   * One scale per block of 32 consecutive elements of a row; the last block may be shorter. This is
   * MXFP8 of the OCP Microscaling specification, except that values are never clipped. {@code
   * scaleInv} is the smallest power of two for which no {@code |v| / scaleInv} of the block exceeds
   * {@code largest}, as a {@link DType#FLOAT8_E8M0} number, of shape {@code [rows, ceil(columns /
   * 32)]}: code 0 (2^-127) if amax is 0; code 254 (2^127) if amax is infinite. {@code scale = 1 /
   * scaleInv}, exactly.
   */
  BLOCK;

  /** The number of elements with a common scale under {@link #BLOCK}. */
  public static final int BLOCK_SIZE = 32;

  /** Returns the code of this scaling in the C interface. */
  public int code() {
    return Codes.of(this);
  }
}
