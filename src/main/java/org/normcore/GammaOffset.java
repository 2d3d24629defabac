package org.normcore;

/** The offset that turns the stored weight {@code w} into the factor {@code g}. */
public enum GammaOffset {
  /** Nothing: {@code g = w}. */
  NONE,
  /**
   * One, in the compute type: {@code g = C(w) + 1}. Zero-centred gamma (TransformerEngine), Gemma.
   */
  ONE_IN_COMPUTE,
  /**
   * One, rounded to the weight's dtype {@code W}: {@code g = rd_W(w + 1)}. LayerNorm1P (Nemotron).
   */
  ONE_IN_WEIGHT
}
