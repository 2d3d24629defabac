package org.normcore.testing;

import org.normcore.GammaOffset;
import org.normcore.NormKind;

/**
 * The norms in float64, directly from their formulas, without intermediate rounding. Independent of
 * the library's code.
 */
public final class Reference {
  private Reference() {}

  /** The results of a forward; {@code xhat} is the normalised value. */
  public record Forward(double[] y, double[] xhat, double[] mean, double[] rstd) {}

  /** The results of a backward. */
  public record Backward(double[] dx, double[] dweight, double[] dbias) {}

  /**
   * Normalises rows of {@code n} elements.
   *
   * @param weight null for none
   * @param bias null for none
   */
  public static Forward forward(
      NormKind kind,
      int n,
      double epsilon,
      GammaOffset offset,
      double[] x,
      double[] weight,
      double[] bias) {
    int rows = x.length / n;
    Forward result =
        new Forward(new double[x.length], new double[x.length], new double[rows], new double[rows]);
    for (int row = 0; row < rows; row++) {
      double mean = 0;
      if (kind == NormKind.LAYER_NORM) {
        for (int i = 0; i < n; i++) {
          mean += x[row * n + i];
        }
        mean /= n;
      }
      double squares = 0;
      for (int i = 0; i < n; i++) {
        double centred = x[row * n + i] - mean;
        squares += centred * centred;
      }
      double rstd = 1 / Math.sqrt(squares / n + epsilon);
      result.mean[row] = mean;
      result.rstd[row] = rstd;
      for (int i = 0; i < n; i++) {
        double xhat = (x[row * n + i] - mean) * rstd;
        result.xhat[row * n + i] = xhat;
        result.y[row * n + i] = xhat * gamma(offset, weight, i) + (bias == null ? 0 : bias[i]);
      }
    }
    return result;
  }

  /** The gradients of a forward. */
  public static Backward backward(
      NormKind kind, int n, GammaOffset offset, Forward forward, double[] weight, double[] dy) {
    int rows = dy.length / n;
    Backward result = new Backward(new double[dy.length], new double[n], new double[n]);
    for (int row = 0; row < rows; row++) {
      double c1 = 0;
      double c2 = 0;
      for (int i = 0; i < n; i++) {
        int at = row * n + i;
        double h = dy[at] * gamma(offset, weight, i);
        c1 += h * forward.xhat[at];
        c2 += h;
        result.dweight[i] += dy[at] * forward.xhat[at];
        result.dbias[i] += dy[at];
      }
      c1 /= n;
      c2 = kind == NormKind.LAYER_NORM ? c2 / n : 0;
      for (int i = 0; i < n; i++) {
        int at = row * n + i;
        double h = dy[at] * gamma(offset, weight, i);
        result.dx[at] = forward.rstd[row] * (h - forward.xhat[at] * c1 - c2);
      }
    }
    return result;
  }

  private static double gamma(GammaOffset offset, double[] weight, int i) {
    return weight == null ? 1 : weight[i] + (offset == GammaOffset.NONE ? 0 : 1);
  }
}
