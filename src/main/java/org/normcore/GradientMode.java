package org.normcore;

/** How a weight or bias gradient is written to its buffer. */
public enum GradientMode {
  /**
   * The gradient replaces the buffer's contents. The buffer has the weight's dtype or is float32.
   */
  WRITE,
  /** The gradient is added to the buffer's contents. The buffer must be float32. */
  ACCUMULATE
}
