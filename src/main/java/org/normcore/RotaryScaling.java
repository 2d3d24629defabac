package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.primitives.Doubles;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * How the inverse frequencies of a {@link RotarySpec} are computed. Immutable.
 *
 * <p>{@code r} is the rotary dimension; {@code w_i = theta^(-2i/r)} is the plain inverse frequency
 * of pair {@code i}, one of {@code r/2} pairs. The formulas are those of {@code
 * modeling_rope_utils.py} of Hugging Face transformers; the names in parentheses are its {@code
 * rope_type}s.
 */
public sealed interface RotaryScaling {
  /** Returns the unscaled {@code w_i} ({@code default}). */
  static Plain plain() {
    return Plain.INSTANCE;
  }

  /**
   * Returns {@code w_i / factor}, position interpolation ({@code linear}).
   *
   * @throws IllegalArgumentException if the factor is not a positive, finite number
   */
  static Linear linear(double factor) {
    return new Linear(factor);
  }

  /**
   * Returns NTK-aware scaling that depends on the length of the sequence ({@code dynamic}): up to
   * {@code originalMaxPositions} nothing changes; for longer sequences theta is multiplied by
   * {@code (factor * length / originalMaxPositions - (factor - 1)) ^ (r / (r - 2))}.
   *
   * @throws IllegalArgumentException if the factor is not a finite number of at least 1, or the
   *     positions are not at least 1
   */
  static DynamicNtk dynamicNtk(double factor, long originalMaxPositions) {
    return new DynamicNtk(factor, originalMaxPositions);
  }

  /**
   * Returns the scaling of Llama 3.1 ({@code llama3}): wavelengths {@code 2 pi / w_i} above {@code
   * originalMaxPositions / lowFreqFactor} are divided by the factor, those below {@code
   * originalMaxPositions / highFreqFactor} stay, those between are interpolated.
   *
   * @throws IllegalArgumentException if a factor is not a positive, finite number, the high one
   *     does not exceed the low one, or the positions are not at least 1
   */
  static Llama3 llama3(
      double factor, double lowFreqFactor, double highFreqFactor, long originalMaxPositions) {
    return new Llama3(factor, lowFreqFactor, highFreqFactor, originalMaxPositions);
  }

  /**
   * Returns YaRN with its default constants: betas 32 and 1, an attention factor of {@code 0.1
   * ln(factor) + 1}, a truncated range. {@link Yarn#builder} sets others.
   *
   * @throws IllegalArgumentException if the factor is not a positive, finite number, or the
   *     positions are not at least 1
   */
  static Yarn yarn(double factor, long originalMaxPositions) {
    return Yarn.builder(factor, originalMaxPositions).build();
  }

  /**
   * Returns LongRoPE ({@code longrope}): {@code w_i / shortFactor[i]} for sequences of up to {@code
   * originalMaxPositions}, {@code w_i / longFactor[i]} for longer ones. The attention factor is
   * {@code sqrt(1 + ln(f) / ln(originalMaxPositions))} with {@code f = maxPositions /
   * originalMaxPositions}, or 1 if {@code f} is at most 1; {@link LongRope#attentionFactor} sets
   * another.
   *
   * @throws IllegalArgumentException if a factor is not a positive, finite number, the two lists
   *     differ in length, or the positions are not at least 1
   */
  static LongRope longRope(
      double[] shortFactor, double[] longFactor, long originalMaxPositions, long maxPositions) {
    Objects.requireNonNull(shortFactor, "shortFactor: null; expected an array of factors");
    Objects.requireNonNull(longFactor, "longFactor: null; expected an array of factors");
    requirePositions("maxPositions", maxPositions);
    requirePositions("originalMaxPositions", originalMaxPositions);
    return new LongRope(
        Doubles.asList(shortFactor),
        Doubles.asList(longFactor),
        originalMaxPositions,
        (double) maxPositions / originalMaxPositions,
        null);
  }

  /**
   * Returns the scaling of Gemma 4 ({@code proportional}): the first {@code rotatingPairs} pairs of
   * the head have {@code w_i / factor}, with exponents over the whole head; the others have
   * frequency 0 and do not rotate.
   *
   * @throws IllegalArgumentException if the factor is not a positive, finite number, or {@code
   *     rotatingPairs} is below 1
   */
  static Proportional proportional(double factor, int rotatingPairs) {
    return new Proportional(factor, rotatingPairs);
  }

  /**
   * Returns explicit inverse frequencies, one per pair, for example the {@code inv_freq} buffer of
   * a checkpoint. Theta is ignored.
   *
   * @throws IllegalArgumentException if the array is empty, or a frequency is not finite
   */
  static Given given(float[] inverseFrequencies) {
    double[] wide =
        new double
            [Objects.requireNonNull(
                    inverseFrequencies,
                    "inverseFrequencies: null; expected an array of frequencies")
                .length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = inverseFrequencies[i];
    }
    return given(wide);
  }

  /**
   * Returns explicit inverse frequencies, one per pair. {@link AnglePrecision#FLOAT32} rounds them
   * to float32.
   *
   * @throws IllegalArgumentException if the array is empty, or a frequency is not finite
   */
  static Given given(double[] inverseFrequencies) {
    Objects.requireNonNull(
        inverseFrequencies, "inverseFrequencies: null; expected an array of frequencies");
    return new Given(Doubles.asList(inverseFrequencies), 1);
  }

  /** See {@link #plain}. */
  record Plain() implements RotaryScaling {
    private static final Plain INSTANCE = new Plain();
  }

  /**
   * See {@link #linear}.
   *
   * @param factor the divisor of all frequencies
   */
  record Linear(double factor) implements RotaryScaling {
    /** Checks the factor. */
    public Linear {
      requirePositive("factor", factor);
    }
  }

  /**
   * See {@link #dynamicNtk}.
   *
   * @param factor how strongly theta grows with the sequence
   * @param originalMaxPositions the length beyond which theta grows
   */
  record DynamicNtk(double factor, long originalMaxPositions) implements RotaryScaling {
    /** Checks both. */
    public DynamicNtk {
      checkArgument(
          factor >= 1 && factor < Double.POSITIVE_INFINITY,
          "factor: %s; expected a finite number of at least 1",
          factor);
      requirePositions("originalMaxPositions", originalMaxPositions);
    }
  }

  /**
   * See {@link #llama3}.
   *
   * @param factor the divisor of low frequencies
   * @param lowFreqFactor the divisor of the original length that gives the upper wavelength
   * @param highFreqFactor the divisor of the original length that gives the lower wavelength
   * @param originalMaxPositions the sequence length of the original training
   */
  record Llama3(
      double factor, double lowFreqFactor, double highFreqFactor, long originalMaxPositions)
      implements RotaryScaling {
    /** Checks all. */
    public Llama3 {
      requirePositive("factor", factor);
      requirePositive("lowFreqFactor", lowFreqFactor);
      requirePositive("highFreqFactor", highFreqFactor);
      checkArgument(
          highFreqFactor > lowFreqFactor,
          "highFreqFactor: %s; expected more than lowFreqFactor, %s",
          highFreqFactor,
          lowFreqFactor);
      requirePositions("originalMaxPositions", originalMaxPositions);
    }
  }

  /**
   * YaRN (Peng et al., 2023): pairs that make more than {@code betaFast} rotations within the
   * original length keep their frequency; for pairs with fewer than {@code betaSlow} rotations it
   * is divided by the factor; those between are interpolated. Cosines and sines are multiplied by
   * an attention factor.
   *
   * @param factor the divisor of low frequencies
   * @param originalMaxPositions the sequence length of the original training
   * @param betaFast the upper number of rotations
   * @param betaSlow the lower number of rotations
   * @param attentionFactor the attention factor, or null to derive it from the other components
   * @param mscale with {@code mscaleAllDim}: the attention factor is {@code (0.1 mscale ln(factor)
   *     + 1) / (0.1 mscaleAllDim ln(factor) + 1)}; null or 0 for {@code 0.1 ln(factor) + 1}
   * @param mscaleAllDim see {@code mscale}
   * @param truncate whether the interpolation range starts and ends at whole pairs
   */
  record Yarn(
      double factor,
      long originalMaxPositions,
      double betaFast,
      double betaSlow,
      @Nullable Double attentionFactor,
      @Nullable Double mscale,
      @Nullable Double mscaleAllDim,
      boolean truncate)
      implements RotaryScaling {
    /** Checks all. */
    public Yarn {
      requirePositive("factor", factor);
      requirePositions("originalMaxPositions", originalMaxPositions);
      requirePositive("betaFast", betaFast);
      requirePositive("betaSlow", betaSlow);
      requireAttentionFactor(attentionFactor);
      requireFinite("mscale", mscale);
      requireFinite("mscaleAllDim", mscaleAllDim);
    }

    /**
     * Returns a builder with the default constants of {@link RotaryScaling#yarn}.
     *
     * <pre>{@code
     * RotaryScaling deepSeek = RotaryScaling.Yarn.builder(40, 4096).mscale(1.0, 1.0).build();
     * }</pre>
     */
    public static Builder builder(double factor, long originalMaxPositions) {
      return new Builder(factor, originalMaxPositions);
    }

    /** Builds a {@link Yarn}. Not thread-safe. */
    public static final class Builder {
      private final double factor;
      private final long originalMaxPositions;
      private double betaFast = 32;
      private double betaSlow = 1;
      private @Nullable Double attentionFactor;
      private @Nullable Double mscale;
      private @Nullable Double mscaleAllDim;
      private boolean truncate = true;

      private Builder(double factor, long originalMaxPositions) {
        this.factor = factor;
        this.originalMaxPositions = originalMaxPositions;
      }

      /** Sets the numbers of rotations. 32 and 1 if not set. */
      public Builder betas(double betaFast, double betaSlow) {
        this.betaFast = betaFast;
        this.betaSlow = betaSlow;
        return this;
      }

      /** Sets the attention factor; null, the default, to derive it. */
      public Builder attentionFactor(@Nullable Double attentionFactor) {
        this.attentionFactor = attentionFactor;
        return this;
      }

      /**
       * Sets DeepSeek's constants of the attention factor. Null if not set. An explicit {@link
       * #attentionFactor} precedes them.
       */
      public Builder mscale(@Nullable Double mscale, @Nullable Double mscaleAllDim) {
        this.mscale = mscale;
        this.mscaleAllDim = mscaleAllDim;
        return this;
      }

      /** Sets whether the interpolation range starts and ends at whole pairs. True if not set. */
      public Builder truncate(boolean truncate) {
        this.truncate = truncate;
        return this;
      }

      /**
       * Returns the scaling.
       *
       * @throws IllegalArgumentException if the factor or a number of rotations is not a positive,
       *     finite number, the positions are not at least 1, the attention factor is negative, or
       *     another number is not finite
       */
      public Yarn build() {
        return new Yarn(
            factor,
            originalMaxPositions,
            betaFast,
            betaSlow,
            attentionFactor,
            mscale,
            mscaleAllDim,
            truncate);
      }
    }
  }

  /**
   * See {@link #longRope}.
   *
   * @param shortFactor the divisors of the frequencies in short sequences
   * @param longFactor the divisors of the frequencies in long sequences
   * @param originalMaxPositions the length up to which a sequence is short
   * @param factor the ratio of the maximum to the original length; determines the attention factor
   * @param attentionFactor the attention factor, or null to derive it from the other components
   */
  record LongRope(
      List<Double> shortFactor,
      List<Double> longFactor,
      long originalMaxPositions,
      double factor,
      @Nullable Double attentionFactor)
      implements RotaryScaling {
    /** Checks all. */
    public LongRope {
      shortFactor = List.copyOf(shortFactor);
      longFactor = List.copyOf(longFactor);
      requireFactors("shortFactor", shortFactor);
      requireFactors("longFactor", longFactor);
      checkArgument(
          shortFactor.size() == longFactor.size(),
          "longFactor: %s numbers; expected %s, as shortFactor has",
          longFactor.size(),
          shortFactor.size());
      requirePositions("originalMaxPositions", originalMaxPositions);
      requirePositive("factor", factor);
      requireAttentionFactor(attentionFactor);
    }

    /** Returns a copy with an explicit attention factor; null to derive it. */
    public LongRope attentionFactor(@Nullable Double attentionFactor) {
      return new LongRope(shortFactor, longFactor, originalMaxPositions, factor, attentionFactor);
    }

    private static void requireFactors(String name, List<Double> factors) {
      for (int i = 0; i < factors.size(); i++) {
        requirePositive(name + "[" + i + "]", factors.get(i));
      }
    }
  }

  /**
   * See {@link #proportional}.
   *
   * @param factor the divisor of the frequencies
   * @param rotatingPairs the number of pairs that rotate
   */
  record Proportional(double factor, int rotatingPairs) implements RotaryScaling {
    /** Checks both. */
    public Proportional {
      requirePositive("factor", factor);
      checkArgument(rotatingPairs >= 1, "rotatingPairs: %s; expected at least 1", rotatingPairs);
    }
  }

  /**
   * See {@link #given(double[])}.
   *
   * @param inverseFrequencies one per pair
   * @param attentionFactor the factor of cosines and sines
   */
  record Given(List<Double> inverseFrequencies, double attentionFactor) implements RotaryScaling {
    /** Checks all. */
    public Given {
      inverseFrequencies = List.copyOf(inverseFrequencies);
      checkArgument(
          !inverseFrequencies.isEmpty(), "inverseFrequencies: none; expected one per pair");
      for (int i = 0; i < inverseFrequencies.size(); i++) {
        requireFinite("inverseFrequencies[" + i + "]", inverseFrequencies.get(i));
      }
      requireAttentionFactor(attentionFactor);
    }

    /** Returns a copy with another attention factor. */
    public Given attentionFactor(double attentionFactor) {
      return new Given(inverseFrequencies, attentionFactor);
    }
  }

  private static void requirePositive(String name, double value) {
    checkArgument(
        value > 0 && value < Double.POSITIVE_INFINITY,
        "%s: %s; expected a positive, finite number",
        name,
        value);
  }

  private static void requireFinite(String name, @Nullable Double value) {
    checkArgument(
        value == null || Double.isFinite(value), "%s: %s; expected a finite number", name, value);
  }

  private static void requireAttentionFactor(@Nullable Double value) {
    checkArgument(
        value == null || value >= 0 && value < Double.POSITIVE_INFINITY,
        "attentionFactor: %s; expected a finite number of at least 0",
        value);
  }

  private static void requirePositions(String name, long value) {
    checkArgument(value >= 1, "%s: %s; expected at least 1", name, value);
  }
}
