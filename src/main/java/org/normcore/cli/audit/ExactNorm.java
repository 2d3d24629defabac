package org.normcore.cli.audit;

import java.util.Optional;
import org.normcore.NormKind;

/** A norm in float64: the exact reference for float32 results. */
final class ExactNorm {
  private final NormKind kind;
  private final double epsilon;
  private final double[] gamma;
  private final Optional<double[]> bias;

  ExactNorm(NormKind kind, double epsilon, double[] gamma, Optional<double[]> bias) {
    this.kind = kind;
    this.epsilon = epsilon;
    this.gamma = gamma;
    this.bias = bias;
  }

  /** The outputs for rows of inputs. */
  double[] apply(double[] x) {
    int hidden = gamma.length;
    double[] y = new double[x.length];
    for (int begin = 0; begin < x.length; begin += hidden) {
      double mean = kind == NormKind.LAYER_NORM ? mean(x, begin, hidden) : 0;
      double squares = 0;
      for (int i = begin; i < begin + hidden; i++) {
        squares += (x[i] - mean) * (x[i] - mean);
      }
      double deviation = Math.sqrt(squares / hidden + epsilon);
      for (int column = 0; column < hidden; column++) {
        double shift = bias.isPresent() ? bias.get()[column] : 0;
        y[begin + column] = (x[begin + column] - mean) / deviation * gamma[column] + shift;
      }
    }
    return y;
  }

  private static double mean(double[] x, int begin, int count) {
    double sum = 0;
    for (int i = begin; i < begin + count; i++) {
      sum += x[i];
    }
    return sum / count;
  }
}
