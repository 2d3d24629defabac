package org.normcore.cli.audit;

/**
 * The errors of a round trip to FP8, as sums, so that several tensors can be added. NaN and
 * infinity are counted in {@code nonFinite} and excluded elsewhere, except from {@code keptError}.
 *
 * @param elements the number of elements, finite or not
 * @param nonFinite the number of NaN and infinite elements
 * @param zeros the number of nonzero values that became zero
 * @param saturated the number of values saturated to the largest FP8 value
 * @param squaredValues the sum of the squares of the values
 * @param squaredErrors the sum of the squares of the errors
 * @param nonzero the number of nonzero values
 * @param relativeErrors the sum of error over value, over the nonzero values
 * @param keptError the largest error of the kept initial values, 0 if their bits are equal
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

  /** A count as a share of the finite elements. */
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
