package org.normcore;

/** In which type the angles of a {@link RotaryTable} are formed. */
public enum Angles {
  /**
   * Frequencies and angles in float64. An angle is the exact product of position and frequency, so
   * that of the error only the frequency's own rounding and that of the result are left.
   */
  FLOAT64,
  /**
   * The order of Hugging Face transformers, for parity with it: float32 inverse frequencies, the
   * position rounded to float32, a float32 product, and float32 cosines and sines.
   */
  FLOAT32
}
