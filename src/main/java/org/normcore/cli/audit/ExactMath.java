package org.normcore.cli.audit;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.math.RoundingMode;

/** Logarithms, powers and angles to about fifty decimal digits. */
final class ExactMath {
  /** Digits of intermediate results; rounding errors affect the last few. */
  static final MathContext DIGITS = new MathContext(60, RoundingMode.HALF_EVEN);

  /** Series stop at terms below this value. */
  private static final BigDecimal NOTHING = BigDecimal.ONE.movePointLeft(64);

  private static final BigDecimal TWO = BigDecimal.valueOf(2);

  /** Pi. */
  static final BigDecimal PI = pi();

  private static final BigDecimal TURN = PI.multiply(TWO);
  private static final BigDecimal LN_2 = artanhSeries(BigDecimal.ONE.divide(big(3), DIGITS));

  private ExactMath() {}

  private static BigDecimal big(long value) {
    return BigDecimal.valueOf(value);
  }

  /** Machin's formula, with extra digits for the remainders of large angles. */
  private static BigDecimal pi() {
    MathContext more = new MathContext(90, RoundingMode.HALF_EVEN);
    return big(16)
        .multiply(arctanOfInverse(5, more))
        .subtract(big(4).multiply(arctanOfInverse(239, more)), more);
  }

  private static BigDecimal arctanOfInverse(long n, MathContext context) {
    BigDecimal smallest = BigDecimal.ONE.movePointLeft(95);
    BigDecimal power = BigDecimal.ONE.divide(big(n), context);
    BigDecimal sum = power;
    for (int k = 3; power.compareTo(smallest) > 0; k += 2) {
      power = power.divide(big(n * n), context);
      BigDecimal term = power.divide(big(k), context);
      sum = k % 4 == 3 ? sum.subtract(term, context) : sum.add(term, context);
    }
    return sum;
  }

  /** Twice the inverse hyperbolic tangent, for small numbers: ln((1 + x) / (1 - x)). */
  private static BigDecimal artanhSeries(BigDecimal x) {
    BigDecimal square = x.multiply(x, DIGITS);
    BigDecimal power = x;
    BigDecimal sum = x;
    for (int k = 3; power.abs().compareTo(NOTHING) > 0; k += 2) {
      power = power.multiply(square, DIGITS);
      sum = sum.add(power.divide(big(k), DIGITS), DIGITS);
    }
    return sum.multiply(TWO, DIGITS);
  }

  /** The natural logarithm of a positive number. */
  static BigDecimal ln(BigDecimal value) {
    int exponent = Math.getExponent(value.doubleValue());
    BigDecimal mantissa = value.multiply(powerOfTwo(-exponent), DIGITS);
    BigDecimal ratio =
        mantissa.subtract(BigDecimal.ONE).divide(mantissa.add(BigDecimal.ONE), DIGITS);
    return artanhSeries(ratio).add(LN_2.multiply(big(exponent), DIGITS), DIGITS);
  }

  /** The exponential function. */
  static BigDecimal exp(BigDecimal value) {
    long doublings = Math.round(value.divide(LN_2, DIGITS).doubleValue());
    BigDecimal rest = value.subtract(LN_2.multiply(big(doublings), DIGITS), DIGITS);
    BigDecimal term = BigDecimal.ONE;
    BigDecimal sum = BigDecimal.ONE;
    for (int k = 1; term.abs().compareTo(NOTHING) > 0; k++) {
      term = term.multiply(rest, DIGITS).divide(big(k), DIGITS);
      sum = sum.add(term, DIGITS);
    }
    return sum.multiply(powerOfTwo(Math.toIntExact(doublings)), DIGITS);
  }

  private static BigDecimal powerOfTwo(int exponent) {
    BigDecimal power = new BigDecimal(BigInteger.ONE.shiftLeft(Math.abs(exponent)));
    return exponent >= 0 ? power : BigDecimal.ONE.divide(power, DIGITS);
  }

  /** A positive number to any power. */
  static BigDecimal pow(BigDecimal base, BigDecimal exponent) {
    return exp(ln(base).multiply(exponent, DIGITS));
  }

  /** The remainder of an angle modulo 2 pi, from -pi to pi, rounded once. */
  static double remainder(BigDecimal angle) {
    BigDecimal rest = angle.remainder(TURN);
    if (rest.compareTo(PI) > 0) {
      rest = rest.subtract(TURN);
    }
    return rest.doubleValue();
  }
}
