package org.normcore;

/**
 * What becomes of the float32, bfloat16 or float16 values that an {@link Fp8Parameter} is quantised
 * from.
 *
 * <p>A model that is initialised straight into FP8 has lost the values that its float32 master
 * weights should start from. Kept, they are in host memory, bit for bit, and cost as many bytes as
 * the source has; page-locked while the parameter is on a CUDA device.
 */
public enum InitialValue {
  /** Not one byte is kept. */
  DISCARD,
  /** Kept until {@link Fp8Parameter#clearInitialValue()}, or until the parameter is closed. */
  KEEP_UNTIL_CLEARED,
  /**
   * Kept until the parameter has first been used: until a forward or inference of a norm has
   * succeeded with it as {@link Operands#fp8Weight(Fp8Parameter)}, or {@link
   * Fp8Parameter#markForward()} is called for any other operation. Clearing it earlier by hand is
   * possible.
   */
  KEEP_UNTIL_FIRST_FORWARD
}
