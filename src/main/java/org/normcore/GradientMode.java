package org.normcore;

/** What happens to the buffer of a weight or bias gradient. */
public enum GradientMode {
  /**
   * The gradient replaces the buffer's contents. The buffer has the weight's dtype or is float32.
   */
  WRITE,
  /** The gradient is added to the buffer's contents. The buffer must be float32. */
  ACCUMULATE
}
