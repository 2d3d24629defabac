package org.normcore.cli.audit;

import java.math.BigDecimal;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.normcore.RotaryScaling;
import org.normcore.RotarySpec;

/**
 * Exact angles, cosines and sines, from the formulas of each scaling in arithmetic of about fifty
 * digits. Independent of the library's tables, except for the numbers of the spec and its attention
 * scaling.
 */
final class ExactRotary {
  /** The cosines and sines of one position. */
  record Row(double[] cos, double[] sin) {}

  private final BigDecimal[] frequencies;
  private final double attentionScaling;
  private final Map<Long, Row> rows = new HashMap<>();

  ExactRotary(RotarySpec spec, long sequenceLength) {
    this.frequencies = frequencies(spec, sequenceLength);
    this.attentionScaling = spec.attentionScaling();
  }

  int pairs() {
    return frequencies.length;
  }

  /** The inverse frequency of a pair. */
  BigDecimal frequency(int pair) {
    return frequencies[pair];
  }

  /** The angle of a pair at a position. */
  BigDecimal angle(long position, int pair) {
    return frequencies[pair].multiply(BigDecimal.valueOf(position));
  }

  /** The cosines and sines of a position, correct to a few units in the last place of float64. */
  Row row(long position) {
    return rows.computeIfAbsent(position, this::evaluate);
  }

  private Row evaluate(long position) {
    Row row = new Row(new double[pairs()], new double[pairs()]);
    for (int i = 0; i < pairs(); i++) {
      double rest = ExactMath.remainder(angle(position, i));
      row.cos[i] = attentionScaling * StrictMath.cos(rest);
      row.sin[i] = attentionScaling * StrictMath.sin(rest);
    }
    return row;
  }

  private static BigDecimal[] frequencies(RotarySpec spec, long length) {
    RotaryScaling scaling = spec.scaling();
    BigDecimal[] w = new BigDecimal[spec.rotaryDim() / 2];
    if (scaling instanceof RotaryScaling.Given s) {
      for (int i = 0; i < w.length; i++) {
        w[i] = new BigDecimal(s.inverseFrequencies().get(i));
      }
      return w;
    }
    BigDecimal base = new BigDecimal(spec.theta());
    BigDecimal dimension = BigDecimal.valueOf(spec.rotaryDim());
    if (scaling instanceof RotaryScaling.DynamicNtk s && length > s.originalMaxPositions()) {
      BigDecimal growth =
          new BigDecimal(s.factor())
              .multiply(BigDecimal.valueOf(length))
              .divide(BigDecimal.valueOf(s.originalMaxPositions()), ExactMath.DIGITS)
              .subtract(new BigDecimal(s.factor()))
              .add(BigDecimal.ONE);
      BigDecimal power =
          dimension.divide(BigDecimal.valueOf(spec.rotaryDim() - 2L), ExactMath.DIGITS);
      base = base.multiply(ExactMath.pow(growth, power), ExactMath.DIGITS);
    }
    BigDecimal logarithm = ExactMath.ln(base);
    for (int i = 0; i < w.length; i++) {
      BigDecimal exponent = BigDecimal.valueOf(-2L * i).divide(dimension, ExactMath.DIGITS);
      w[i] = scaled(scaling, spec, length, i, ExactMath.exp(logarithm.multiply(exponent)));
    }
    return w;
  }

  private static BigDecimal scaled(
      RotaryScaling scaling, RotarySpec spec, long length, int pair, BigDecimal w) {
    if (scaling instanceof RotaryScaling.Linear s) {
      return over(w, s.factor());
    } else if (scaling instanceof RotaryScaling.Llama3 s) {
      return llama3(s, w);
    } else if (scaling instanceof RotaryScaling.Yarn s) {
      BigDecimal ramp = yarnRamp(s, spec, pair);
      return over(w, s.factor())
          .multiply(ramp)
          .add(w.multiply(BigDecimal.ONE.subtract(ramp)), ExactMath.DIGITS);
    } else if (scaling instanceof RotaryScaling.LongRope s) {
      List<Double> factors = length > s.originalMaxPositions() ? s.longFactor() : s.shortFactor();
      return over(w, factors.get(pair));
    } else if (scaling instanceof RotaryScaling.Proportional s) {
      return pair < s.rotatingPairs() ? over(w, s.factor()) : BigDecimal.ZERO;
    }
    return w;
  }

  private static BigDecimal over(BigDecimal w, double divisor) {
    return w.divide(new BigDecimal(divisor), ExactMath.DIGITS);
  }

  private static BigDecimal llama3(RotaryScaling.Llama3 s, BigDecimal w) {
    // The number of rotations of the pair within the original length.
    BigDecimal turns =
        w.multiply(BigDecimal.valueOf(s.originalMaxPositions()))
            .divide(ExactMath.PI.multiply(BigDecimal.valueOf(2)), ExactMath.DIGITS);
    BigDecimal low = new BigDecimal(s.lowFreqFactor());
    BigDecimal high = new BigDecimal(s.highFreqFactor());
    if (turns.compareTo(low) < 0) {
      return over(w, s.factor());
    }
    if (turns.compareTo(high) > 0) {
      return w;
    }
    BigDecimal smooth = turns.subtract(low).divide(high.subtract(low), ExactMath.DIGITS);
    return over(w, s.factor())
        .multiply(BigDecimal.ONE.subtract(smooth))
        .add(w.multiply(smooth), ExactMath.DIGITS);
  }

  /** The interpolated fraction of a pair: 0 below the range, 1 above it. */
  private static BigDecimal yarnRamp(RotaryScaling.Yarn s, RotarySpec spec, int pair) {
    double low = yarnPair(s, spec, s.betaFast());
    double high = yarnPair(s, spec, s.betaSlow());
    if (s.truncate()) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, spec.rotaryDim() - 1);
    if (low == high) {
      high += 0.001;
    }
    BigDecimal start = new BigDecimal(low);
    BigDecimal ramp =
        BigDecimal.valueOf(pair)
            .subtract(start)
            .divide(new BigDecimal(high).subtract(start), ExactMath.DIGITS);
    return ramp.max(BigDecimal.ZERO).min(BigDecimal.ONE);
  }

  private static double yarnPair(RotaryScaling.Yarn s, RotarySpec spec, double turns) {
    BigDecimal length =
        BigDecimal.valueOf(s.originalMaxPositions())
            .divide(
                new BigDecimal(turns).multiply(ExactMath.PI).multiply(BigDecimal.valueOf(2)),
                ExactMath.DIGITS);
    return ExactMath.ln(length)
        .multiply(BigDecimal.valueOf(spec.rotaryDim()))
        .divide(
            ExactMath.ln(new BigDecimal(spec.theta())).multiply(BigDecimal.valueOf(2)),
            ExactMath.DIGITS)
        .doubleValue();
  }
}
