package org.normcore.cli.audit;

import java.util.Optional;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * The Hugging Face order of operations as its authors wrote it, element by element: normalise in
 * float32, round, apply the weight, round; with a bias, add it and round. Input, weight and output
 * have one type. Mean and reciprocal standard deviation are given, so that the forward can differ
 * by rounding only.
 */
final class PlainHuggingFace {
  private final PlainRounding rounding;
  private final int hidden;
  private final float[] weight;
  private final Optional<float[]> bias;

  PlainHuggingFace(DType dtype, TensorView weight, Optional<TensorView> bias) {
    this.rounding = new PlainRounding(dtype);
    this.weight = weight.toFloats();
    this.hidden = this.weight.length;
    this.bias = bias.map(TensorView::toFloats);
  }

  /** The output, for given statistics; the mean is absent for RMSNorm. */
  float[] forward(float[] x, Optional<float[]> mean, float[] rstd) {
    float[] y = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      int column = i % hidden;
      float scaled = rounding.round(normalised(x, mean, rstd, i) * weight[column]);
      y[i] = bias.isPresent() ? rounding.round(scaled + bias.get()[column]) : scaled;
    }
    return y;
  }

  /** The gradient of the input, its sums formed in float64. */
  float[] inputGradient(float[] x, float[] dy, Optional<float[]> mean, float[] rstd) {
    float[] dx = new float[x.length];
    float[] h = new float[hidden];
    float[] xhat = new float[hidden];
    for (int row = 0; row < rstd.length; row++) {
      double products = 0;
      double sum = 0;
      for (int column = 0; column < hidden; column++) {
        int i = row * hidden + column;
        xhat[column] = xhat(x, mean, rstd, i);
        h[column] = rounding.round(dy[i] * weight[column]);
        products += (double) h[column] * xhat[column];
        sum += h[column];
      }
      float c1 = (float) (products / hidden);
      float c2 = mean.isPresent() ? (float) (sum / hidden) : 0;
      for (int column = 0; column < hidden; column++) {
        dx[row * hidden + column] =
            rounding.round(rstd[row] * (h[column] - xhat[column] * c1 - c2));
      }
    }
    return dx;
  }

  /** The gradient of the weight, its sums formed in float64. */
  float[] weightGradient(float[] x, float[] dy, Optional<float[]> mean, float[] rstd) {
    double[] sums = new double[hidden];
    for (int i = 0; i < x.length; i++) {
      sums[i % hidden] += rounding.round(dy[i] * normalised(x, mean, rstd, i));
    }
    float[] dweight = new float[hidden];
    for (int column = 0; column < hidden; column++) {
      dweight[column] = (float) rounding.round(sums[column]);
    }
    return dweight;
  }

  private float normalised(float[] x, Optional<float[]> mean, float[] rstd, int i) {
    return rounding.round(xhat(x, mean, rstd, i));
  }

  private float xhat(float[] x, Optional<float[]> mean, float[] rstd, int i) {
    int row = i / hidden;
    float centred = mean.isPresent() ? x[i] - mean.get()[row] : x[i];
    return centred * rstd[row];
  }
}
