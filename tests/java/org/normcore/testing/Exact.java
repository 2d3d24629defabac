package org.normcore.testing;

import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;

/**
 * Elementary functions of decimal numbers to about 60 digits, by plain series: the reference for
 * tables.
 */
public final class Exact {
  /** The precision of intermediate results. */
  public static final MathContext DIGITS = new MathContext(70, RoundingMode.HALF_EVEN);

  private static final BigDecimal TINY = BigDecimal.ONE.movePointLeft(72);
  private static final BigDecimal TWO = BigDecimal.valueOf(2);

  /** Pi. */
  public static final BigDecimal PI =
      atanOfReciprocal(5)
          .multiply(BigDecimal.valueOf(16))
          .subtract(atanOfReciprocal(239).multiply(BigDecimal.valueOf(4)));

  private Exact() {}

  /** The value of a double, exactly. */
  public static BigDecimal of(double value) {
    return new BigDecimal(value);
  }

  /** The quotient of two doubles. */
  public static BigDecimal ratio(double a, double b) {
    return of(a).divide(of(b), DIGITS);
  }

  private static BigDecimal atanOfReciprocal(int n) {
    BigDecimal square = BigDecimal.valueOf((long) n * n);
    BigDecimal power = BigDecimal.ONE.divide(BigDecimal.valueOf(n), DIGITS);
    BigDecimal sum = power;
    for (int i = 1; power.compareTo(TINY) > 0; i++) {
      power = power.divide(square, DIGITS);
      BigDecimal term = power.divide(BigDecimal.valueOf(2L * i + 1), DIGITS);
      sum = i % 2 == 1 ? sum.subtract(term) : sum.add(term);
    }
    return sum;
  }

  /** The sine. */
  public static BigDecimal sin(BigDecimal x) {
    BigDecimal turn = PI.multiply(TWO);
    BigDecimal turns = x.divide(turn, 0, RoundingMode.HALF_EVEN);
    BigDecimal r = x.subtract(turns.multiply(turn));
    BigDecimal square = r.multiply(r, DIGITS).negate();
    BigDecimal term = r;
    BigDecimal sum = r;
    for (int i = 1; term.abs().compareTo(TINY) > 0; i++) {
      term =
          term.multiply(square, DIGITS).divide(BigDecimal.valueOf(2L * i * (2L * i + 1)), DIGITS);
      sum = sum.add(term);
    }
    return sum;
  }

  /** The cosine. */
  public static BigDecimal cos(BigDecimal x) {
    return sin(PI.divide(TWO, DIGITS).subtract(x));
  }

  /** The exponential function. */
  public static BigDecimal exp(BigDecimal x) {
    int halvings = 20;
    BigDecimal r = x.divide(BigDecimal.valueOf(1L << halvings), DIGITS);
    BigDecimal term = BigDecimal.ONE;
    BigDecimal sum = BigDecimal.ONE;
    for (int i = 1; term.abs().compareTo(TINY) > 0; i++) {
      term = term.multiply(r, DIGITS).divide(BigDecimal.valueOf(i), DIGITS);
      sum = sum.add(term);
    }
    for (int i = 0; i < halvings; i++) {
      sum = sum.multiply(sum, DIGITS);
    }
    return sum;
  }

  /** The natural logarithm of a positive number. */
  public static BigDecimal ln(BigDecimal x) {
    BigDecimal y = BigDecimal.valueOf(Math.log(x.doubleValue()));
    // Newton's method; each step doubles the digits.
    for (int i = 0; i < 3; i++) {
      y = y.add(x.divide(exp(y), DIGITS).subtract(BigDecimal.ONE), DIGITS);
    }
    return y;
  }

  /** A positive number to some power. */
  public static BigDecimal pow(BigDecimal base, BigDecimal exponent) {
    return exp(ln(base).multiply(exponent, DIGITS));
  }
}
