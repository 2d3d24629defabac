package org.normcore;

import com.google.common.primitives.Doubles;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * The inverse frequencies and the attention scaling of a {@link RotaryScaling}, in float64 and in
 * the float32 steps of Hugging Face transformers. {@code StrictMath} throughout: the same bits on
 * every machine.
 */
final class RotaryFrequencies {
  private final RotaryScaling scaling;
  private final double theta;
  private final int rotaryDim;
  private final int pairs;

  RotaryFrequencies(RotaryScaling scaling, double theta, int rotaryDim) {
    this.scaling = scaling;
    this.theta = theta;
    this.rotaryDim = rotaryDim;
    this.pairs = rotaryDim / 2;
  }

  /** The factor of cosines and sines. */
  double attentionScaling() {
    if (scaling instanceof RotaryScaling.Yarn s) {
      if (s.attentionFactor() != null) {
        return s.attentionFactor();
      }
      boolean both = isSet(s.mscale()) && isSet(s.mscaleAllDim());
      return both
          ? yarnScale(s.factor(), s.mscale()) / yarnScale(s.factor(), s.mscaleAllDim())
          : yarnScale(s.factor(), 1);
    } else if (scaling instanceof RotaryScaling.LongRope s) {
      if (s.attentionFactor() != null) {
        return s.attentionFactor();
      }
      return s.factor() <= 1
          ? 1
          : StrictMath.sqrt(
              1 + StrictMath.log(s.factor()) / StrictMath.log((double) s.originalMaxPositions()));
    } else if (scaling instanceof RotaryScaling.Given s) {
      return s.attentionFactor();
    }
    return 1;
  }

  private static boolean isSet(@Nullable Double value) {
    return value != null && value != 0;
  }

  private static double yarnScale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * StrictMath.log(factor) + 1;
  }

  /** The inverse frequencies for a sequence of the given length, in float64. */
  double[] inFloat64(long length) {
    double[] w = new double[pairs];
    double base = theta;
    if (scaling instanceof RotaryScaling.DynamicNtk s) {
      long original = s.originalMaxPositions();
      if (length > original) {
        double growth = 1 + s.factor() * (length - original) / original;
        base *= StrictMath.pow(growth, (double) rotaryDim / (rotaryDim - 2));
      }
    }
    double log = StrictMath.log(base);
    for (int i = 0; i < pairs; i++) {
      double exponent = 2.0 * i / rotaryDim;
      // The rounding error of the exponent, which the power amplifies by ln(theta).
      double rest = Math.fma(-exponent, rotaryDim, 2.0 * i) / rotaryDim;
      double power = StrictMath.pow(base, -exponent);
      w[i] = power - power * (rest * log);
    }
    if (scaling instanceof RotaryScaling.Linear s) {
      for (int i = 0; i < pairs; i++) {
        w[i] /= s.factor();
      }
    } else if (scaling instanceof RotaryScaling.Llama3 s) {
      for (int i = 0; i < pairs; i++) {
        w[i] = llama3(s, w[i]);
      }
    } else if (scaling instanceof RotaryScaling.Yarn s) {
      double low = yarnLow(s);
      double width = yarnHigh(s, low) - low;
      for (int i = 0; i < pairs; i++) {
        double ramp = Math.min(Math.max((i - low) / width, 0), 1);
        w[i] = w[i] / s.factor() * ramp + w[i] * (1 - ramp);
      }
    } else if (scaling instanceof RotaryScaling.LongRope s) {
      List<Double> factors = longRopeFactors(s, length);
      for (int i = 0; i < pairs; i++) {
        w[i] /= factors.get(i);
      }
    } else if (scaling instanceof RotaryScaling.Proportional s) {
      for (int i = 0; i < pairs; i++) {
        w[i] = i < s.rotatingPairs() ? w[i] / s.factor() : 0;
      }
    } else if (scaling instanceof RotaryScaling.Given s) {
      w = Doubles.toArray(s.inverseFrequencies());
    }
    return w;
  }

  private static double llama3(RotaryScaling.Llama3 s, double w) {
    double original = s.originalMaxPositions();
    double wavelength = 2 * Math.PI / w;
    if (wavelength > original / s.lowFreqFactor()) {
      return w / s.factor();
    }
    if (wavelength < original / s.highFreqFactor()) {
      return w;
    }
    double smooth =
        (original / wavelength - s.lowFreqFactor()) / (s.highFreqFactor() - s.lowFreqFactor());
    return (1 - smooth) * w / s.factor() + smooth * w;
  }

  /** The start of YaRN's interpolation range. */
  private double yarnLow(RotaryScaling.Yarn s) {
    double low = yarnPair(s, s.betaFast());
    return Math.max(s.truncate() ? Math.floor(low) : low, 0);
  }

  /** The end of the range; an empty range is widened by 0.001. */
  private double yarnHigh(RotaryScaling.Yarn s, double low) {
    double high = yarnPair(s, s.betaSlow());
    high = Math.min(s.truncate() ? Math.ceil(high) : high, rotaryDim - 1);
    return high == low ? high + 0.001 : high;
  }

  /** The pair that makes {@code turns} rotations within the original length; may be fractional. */
  private double yarnPair(RotaryScaling.Yarn s, double turns) {
    return rotaryDim
        * StrictMath.log(s.originalMaxPositions() / (turns * 2 * Math.PI))
        / (2 * StrictMath.log(theta));
  }

  private static List<Double> longRopeFactors(RotaryScaling.LongRope s, long length) {
    return length > s.originalMaxPositions() ? s.longFactor() : s.shortFactor();
  }

  /**
   * The inverse frequencies for a sequence of the given length, in the steps of transformers with
   * float32 tensors and Python numbers. There, dividing a number by a tensor is a reciprocal and a
   * product.
   */
  float[] inFloat32(long length) {
    float[] w = new float[pairs];
    if (scaling instanceof RotaryScaling.Given s) {
      for (int i = 0; i < pairs; i++) {
        w[i] = s.inverseFrequencies().get(i).floatValue();
      }
      return w;
    }
    float base = base32(length);
    float[] powers = new float[pairs];
    for (int i = 0; i < pairs; i++) {
      float exponent = (float) (2 * i) / rotaryDim;
      powers[i] = (float) StrictMath.pow(base, exponent);
      w[i] = 1 / powers[i];
    }
    if (scaling instanceof RotaryScaling.Linear s) {
      for (int i = 0; i < pairs; i++) {
        w[i] /= (float) s.factor();
      }
    } else if (scaling instanceof RotaryScaling.Llama3 s) {
      for (int i = 0; i < pairs; i++) {
        w[i] = llama3InFloat32(s, w[i]);
      }
    } else if (scaling instanceof RotaryScaling.Yarn s) {
      double low = yarnLow(s);
      float width = (float) (yarnHigh(s, low) - low);
      for (int i = 0; i < pairs; i++) {
        float ramp = Math.min(Math.max((i - (float) low) / width, 0), 1);
        float extrapolated = 1 - ramp;
        float interpolated = 1 / ((float) s.factor() * powers[i]);
        w[i] = interpolated * (1 - extrapolated) + w[i] * extrapolated;
      }
    } else if (scaling instanceof RotaryScaling.LongRope s) {
      List<Double> factors = longRopeFactors(s, length);
      for (int i = 0; i < pairs; i++) {
        w[i] = 1 / (factors.get(i).floatValue() * powers[i]);
      }
    } else if (scaling instanceof RotaryScaling.Proportional s) {
      for (int i = 0; i < pairs; i++) {
        w[i] = i < s.rotatingPairs() ? w[i] / (float) s.factor() : 0;
      }
    }
    return w;
  }

  /** The base of the power. If the length is a tensor, transformers computes it in float32. */
  private float base32(long length) {
    if (!(scaling instanceof RotaryScaling.DynamicNtk s)) {
      return (float) theta;
    }
    long original = s.originalMaxPositions();
    double exponent = (double) rotaryDim / (rotaryDim - 2);
    if (length <= original) {
      double growth = s.factor() * original / original - (s.factor() - 1);
      return (float) (theta * StrictMath.pow(growth, exponent));
    }
    float growth = (float) s.factor() * length / original - (float) (s.factor() - 1);
    return (float) theta * (float) StrictMath.pow(growth, (float) exponent);
  }

  private static float llama3InFloat32(RotaryScaling.Llama3 s, float w) {
    double original = s.originalMaxPositions();
    float wavelength = 1 / w * (float) (2 * Math.PI);
    float factor = (float) s.factor();
    float low = (float) (original / s.lowFreqFactor());
    float high = (float) (original / s.highFreqFactor());
    float scaled = wavelength > low ? w / factor : w;
    if (wavelength < high || wavelength > low) {
      return scaled;
    }
    float smooth =
        (1 / wavelength * (float) original - (float) s.lowFreqFactor())
            / (float) (s.highFreqFactor() - s.lowFreqFactor());
    return (1 - smooth) * scaled / factor + smooth * scaled;
  }
}
