package org.normcore;

/** The precision in which the angles of a {@link RotaryTable} are computed. */
public enum AnglePrecision {
  /**
   * Frequencies and angles in float64. An angle is the exact product of position and frequency. The
   * only errors are the rounding of the frequency and the rounding of the result.
   */
  FLOAT64,
  /**
   * The steps of Hugging Face transformers, for bit parity with it: float32 inverse frequencies,
   * the position rounded to float32, a float32 product, and float32 cosines and sines.
   */
  FLOAT32
}
