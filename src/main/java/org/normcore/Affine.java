package org.normcore;

/** Which of weight and bias a norm has. */
public enum Affine {
  /** Neither: {@code y} is the normalised value. */
  NONE(false, false),
  /** A weight only, as RMSNorm usually has. */
  WEIGHT(true, false),
  /** A bias only. */
  BIAS(false, true),
  /** Both, as LayerNorm usually has. */
  WEIGHT_AND_BIAS(true, true);

  private final boolean hasWeight;
  private final boolean hasBias;

  Affine(boolean hasWeight, boolean hasBias) {
    this.hasWeight = hasWeight;
    this.hasBias = hasBias;
  }

  /** Returns whether the norm has a weight. */
  public boolean hasWeight() {
    return hasWeight;
  }

  /** Returns whether the norm has a bias. */
  public boolean hasBias() {
    return hasBias;
  }
}
