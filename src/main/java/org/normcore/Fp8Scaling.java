package org.normcore;

/**
 * How values are scaled into an FP8 format: {@code q = rd(v * scale)}, and back {@code v = q *
 * scaleInv}. {@code rd} rounds to nearest even and saturates; NaN stays NaN.
 *
 * <p>{@code amax} is the largest {@code |v|}; NaN is left out, infinity counts. {@code largest} is
 * the largest value of the format: 448 for E4M3, 57344 for E5M2. All arithmetic is in float32,
 * products in norms in the compute type.
 *
 * <p>{@code scaleOf(amax) = largest / amax / 2^margin}, on request rounded down to a power of two,
 * within float32's normal numbers; 1 where amax is 0, negative, infinite or NaN, for then it says
 * nothing.
 */
public enum Fp8Scaling {
  /**
   * One scale for the whole tensor, a float32: {@code scaleOf(amax)}, or what the caller gives.
   * {@code scaleInv = 1 / scale}.
   */
  TENSOR,
  /**
   * One scale for each row, a float32: {@code scaleOf(amax of the row)}. {@code scaleInv = 1 /
   * scale}, of shape {@code [rows]}.
   */
  ROW,
  /**
   * One scale for each 32 consecutive elements of a row, the last block perhaps shorter: MXFP8, of
   * the OCP Microscaling specification, except that no value of a block is ever clipped. {@code
   * scaleInv} is the least power of two by which no {@code |v|} of the block exceeds {@code
   * largest}, as a {@link DType#FLOAT8_E8M0} number, of shape {@code [rows, ceil(columns / 32)]}:
   * code 0, which is 2^-127, where amax is 0; code 254, which is 2^127, where it is infinite.
   * {@code scale = 1 / scaleInv}, exactly.
   */
  BLOCK;

  /** The elements that share a scale under {@link #BLOCK}. */
  public static final int BLOCK_SIZE = 32;

  /** Returns the number that stands for this scaling in the C interface. */
  public int code() {
    return ordinal() + 1;
  }
}
