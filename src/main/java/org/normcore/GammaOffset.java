package org.normcore;

/** What is added to the stored weight {@code w} to form the factor {@code g}. */
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
