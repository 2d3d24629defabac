package org.normcore.cli.audit;

/**
 * What values lost on the way to FP8 and back. Sums, so that those of several tensors add up. NaN
 * and infinity are counted, and left out of all else but {@code keptError}.
 *
 * @param elements how many there are, finite or not
 * @param nonFinite how many are NaN or infinite
 * @param zeros how many were something and came back as zero
 * @param saturated how many were beyond the largest FP8 value and were cut off
 * @param squaredValues the sum of their squares
 * @param squaredErrors the sum of the squares of what came back less what they were
 * @param nonzero how many are not zero
 * @param relativeErrors the sum, over those, of the error over the value
 * @param keptError the largest error of the kept initial values, 0 where their bits are the same
 */
record Fp8Losses(
    long elements,
    long nonFinite,
    long zeros,
    long saturated,
    double squaredValues,
    double squaredErrors,
    long nonzero,
    double relativeErrors,
    double keptError) {
  static final Fp8Losses NONE = new Fp8Losses(0, 0, 0, 0, 0, 0, 0, 0, 0);

  Fp8Losses plus(Fp8Losses other) {
    return new Fp8Losses(
        elements + other.elements,
        nonFinite + other.nonFinite,
        zeros + other.zeros,
        saturated + other.saturated,
        squaredValues + other.squaredValues,
        squaredErrors + other.squaredErrors,
        nonzero + other.nonzero,
        relativeErrors + other.relativeErrors,
        Math.max(keptError, other.keptError));
  }

  double zeroShare() {
    return share(zeros);
  }

  double saturatedShare() {
    return share(saturated);
  }

  /** Of those that are finite. */
  private double share(long some) {
    return elements == nonFinite ? 0 : (double) some / (elements - nonFinite);
  }

  /** The root mean square error over the root mean square value. */
  double rmsError() {
    return squaredValues == 0 ? 0 : Math.sqrt(squaredErrors / squaredValues);
  }

  /** The mean of error over value; a value that became zero counts as 1. */
  double meanRelativeError() {
    return nonzero == 0 ? 0 : relativeErrors / nonzero;
  }
}
