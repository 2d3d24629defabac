package org.normcore;

/**
 * How long an {@link Fp8Parameter} keeps the float32, bfloat16 or float16 values it is quantised
 * from.
 *
 * <p>A model that is initialised directly in FP8 loses the values that its float32 master weights
 * should start from. Kept values are stored in host memory, bit for bit, and take as many bytes as
 * the source. The memory is page-locked while the parameter is on a CUDA device.
 */
public enum InitialValue {
  /** Nothing is kept. */
  DISCARD,
  /** Kept until {@link Fp8Parameter#clearInitialValue()} or {@link Fp8Parameter#close()}. */
  KEEP_UNTIL_CLEARED,
  /**
   * Kept until the first use of the parameter: until a norm's forward or inference succeeds with it
   * as {@link Operands#fp8Weight(Fp8Parameter)}, or the caller of another operation calls {@link
   * Fp8Parameter#markForward()}. {@link Fp8Parameter#clearInitialValue()} clears it earlier.
   */
  KEEP_UNTIL_FIRST_FORWARD
}
