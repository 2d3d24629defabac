package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.RotaryPlan;

/**
 * Describes a model's rotary position embedding: the size of a head, how many of its elements
 * rotate, and the inverse frequencies. Immutable.
 *
 * <p>The first {@code rotaryDim} of a head's {@code headDim} elements rotate, in {@code
 * rotaryDim/2} pairs. At position {@code p}, pair {@code i} rotates by the angle {@code p * w_i}.
 * By default {@code w_i = theta^(-2i/rotaryDim)}; {@link RotaryScaling} has the alternatives.
 * Cosines and sines are multiplied by {@link #attentionScaling()}, which is 1 except for YaRN,
 * LongRoPE and given frequencies with an attention factor.
 *
 * <pre>{@code
 * RotarySpec spec = RotarySpec.fromConfig(Path.of("Llama-3.1-8B/config.json"));
 * RotarySpec same = RotarySpec.builder(128).theta(500_000)
 *     .scaling(RotaryScaling.llama3(8, 1, 4, 8192)).build();
 * }</pre>
 *
 * <p>Sources: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding" (2021),
 * for the formula; {@code modeling_rope_utils.py} of Hugging Face transformers for the scalings and
 * for reading {@code config.json}.
 */
public final class RotarySpec {
  /** The maximum size of a head. */
  public static final int MAX_HEAD_DIM = RotaryPlan.MAX_HEAD_DIM;

  private final int headDim;
  private final int rotaryDim;
  private final double theta;
  private final RotaryScaling scaling;
  private final RotaryFrequencies frequencies;
  private final double attentionScaling;

  private RotarySpec(Builder builder) {
    this.headDim = builder.headDim;
    this.scaling = builder.scaling;
    this.theta = builder.theta;
    this.rotaryDim = builder.resolvedRotaryDim();
    this.frequencies = new RotaryFrequencies(scaling, theta, rotaryDim);
    this.attentionScaling = frequencies.attentionScaling();
    requireFinite(frequencies.inFloat64(1), "theta: " + theta);
    checkArgument(
        Double.isFinite(attentionScaling),
        "scaling: %s has an attention scaling of %s; expected a finite number",
        scaling,
        attentionScaling);
  }

  /**
   * Returns a builder for heads of the given size, all of whose elements rotate, with theta 10000
   * and plain frequencies.
   *
   * @throws IllegalArgumentException if the size is not within 2 to {@link #MAX_HEAD_DIM}
   */
  public static Builder builder(int headDim) {
    return new Builder(headDim);
  }

  /**
   * Reads a model's {@code config.json}, as {@link #fromConfig(String, String)} does.
   *
   * @throws IOException if the file can't be read
   * @throws IllegalArgumentException as {@link #fromConfig(String, String)}; the message starts
   *     with the file name
   */
  public static RotarySpec fromConfig(Path configJson) throws IOException {
    return fromConfig(configJson, null);
  }

  /**
   * Reads a model's {@code config.json}, as {@link #fromConfig(String, String)} does.
   *
   * @param layerType for example {@code sliding_attention}; null if all layers are the same
   * @throws IOException if the file can't be read
   * @throws IllegalArgumentException as {@link #fromConfig(String, String)}; the message starts
   *     with the file name
   */
  public static RotarySpec fromConfig(Path configJson, @Nullable String layerType)
      throws IOException {
    String text = Files.readString(configJson, StandardCharsets.UTF_8);
    try {
      return fromConfig(text, layerType);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(configJson + ": " + e.getMessage(), e);
    }
  }

  /** Reads the text of a {@code config.json} whose layers are all the same. */
  public static RotarySpec fromConfig(String json) {
    return fromConfig(json, null);
  }

  /**
   * Reads the text of a Hugging Face {@code config.json}, as transformers does.
   *
   * <ul>
   *   <li>The parameters are {@code rope_scaling} (with {@code rope_theta} next to it) or {@code
   *       rope_parameters}; in a composite model those of its {@code text_config}. {@code
   *       rope_type}, or {@code type}, is {@code default}, {@code linear}, {@code dynamic}, {@code
   *       llama3}, {@code yarn}, {@code longrope} (or {@code su}) or {@code proportional}; {@code
   *       mrope} has plain frequencies and is correct if all of its axes have the same position, as
   *       in text.
   *   <li>The head size is {@code head_dim}, otherwise {@code hidden_size / num_attention_heads};
   *       with multi-head latent attention {@code qk_rope_head_dim}, the rotary part, which is what
   *       the op takes.
   *   <li>{@code partial_rotary_factor}, {@code rotary_pct} or {@code rotary_dim} set the rotary
   *       dimension; {@code rotary_emb_base} is another name of theta.
   *   <li>{@code original_max_position_embeddings} is next to the parameters or in them; the
   *       default factor of YaRN and LongRoPE is {@code max_position_embeddings} divided by it.
   *   <li>If parameters differ by layer ({@code rope_parameters} with an object per layer type;
   *       {@code rope_local_base_freq}, {@code local_rope_theta}), the layer type is required.
   * </ul>
   *
   * @param layerType a key of {@code rope_parameters}, for example {@code full_attention} or {@code
   *     sliding_attention}; null if all layers are the same
   * @throws IllegalArgumentException if the text is not a JSON object, a field is missing, of a
   *     wrong type or out of range, the type of the parameters is unknown, or the layer type is
   *     missing or unknown; the message names the field, its value and what was expected
   */
  public static RotarySpec fromConfig(String json, @Nullable String layerType) {
    return new RotaryConfig(json).spec(layerType);
  }

  /** Returns the number of elements of a head. */
  public int headDim() {
    return headDim;
  }

  /** Returns the number of elements, from the start of a head, that rotate. */
  public int rotaryDim() {
    return rotaryDim;
  }

  /** Returns the base of the plain frequencies. Given frequencies ignore it. */
  public double theta() {
    return theta;
  }

  /** Returns the scaling of the frequencies. */
  public RotaryScaling scaling() {
    return scaling;
  }

  /** Returns the factor of cosines and sines. */
  public double attentionScaling() {
    return attentionScaling;
  }

  /**
   * Returns whether the frequencies depend on the length of the sequence: with {@link
   * RotaryScaling.DynamicNtk} and {@link RotaryScaling.LongRope}.
   */
  public boolean dependsOnLength() {
    return scaling instanceof RotaryScaling.DynamicNtk || scaling instanceof RotaryScaling.LongRope;
  }

  /**
   * Returns the {@code rotaryDim/2} inverse frequencies of {@link AnglePrecision#FLOAT64}, in
   * radians per position, for a short sequence.
   */
  public double[] inverseFrequencies() {
    return inverseFrequencies(1);
  }

  /**
   * Returns the {@code rotaryDim/2} inverse frequencies of {@link AnglePrecision#FLOAT64}, in
   * radians per position.
   *
   * @param sequenceLength the sequence length, for scalings that depend on it ({@link
   *     #dependsOnLength})
   * @throws IllegalArgumentException if the length is negative, or so large that a frequency is not
   *     finite
   */
  public double[] inverseFrequencies(long sequenceLength) {
    requireLength(sequenceLength);
    return requireFinite(
        frequencies.inFloat64(sequenceLength), "sequenceLength: " + sequenceLength);
  }

  /** Returns the inverse frequencies of {@link AnglePrecision#FLOAT32}, for a short sequence. */
  public float[] inverseFrequenciesInFloat32() {
    return inverseFrequenciesInFloat32(1);
  }

  /**
   * Returns the {@code rotaryDim/2} inverse frequencies of {@link AnglePrecision#FLOAT32}: those of
   * Hugging Face transformers, except for the last bit of its float32 power.
   *
   * @param sequenceLength the sequence length, for scalings that depend on it ({@link
   *     #dependsOnLength})
   * @throws IllegalArgumentException if the length is negative, or a frequency is beyond float32
   */
  public float[] inverseFrequenciesInFloat32(long sequenceLength) {
    requireLength(sequenceLength);
    float[] all = frequencies.inFloat32(sequenceLength);
    for (int i = 0; i < all.length; i++) {
      if (!Float.isFinite(all[i])) {
        throw new IllegalArgumentException(
            "angles: FLOAT32, in which the inverse frequency of pair "
                + i
                + " is "
                + all[i]
                + "; expected finite ones");
      }
    }
    return all;
  }

  /** Returns whether the other is a spec with the same contents. */
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof RotarySpec that
        && headDim == that.headDim
        && rotaryDim == that.rotaryDim
        && theta == that.theta
        && scaling.equals(that.scaling);
  }

  @Override
  public int hashCode() {
    return Objects.hash(headDim, rotaryDim, theta, scaling);
  }

  /** Describes the configuration. */
  @Override
  public String toString() {
    return "RotarySpec(headDim="
        + headDim
        + ", rotaryDim="
        + rotaryDim
        + ", theta="
        + theta
        + ", scaling="
        + scaling
        + ")";
  }

  private static void requireLength(long sequenceLength) {
    checkArgument(sequenceLength >= 0, "sequenceLength: %s; expected at least 0", sequenceLength);
  }

  private double[] requireFinite(double[] all, String cause) {
    for (int i = 0; i < all.length; i++) {
      checkArgument(
          Double.isFinite(all[i]),
          "%s gives an inverse frequency of %s to pair %s, with %s; expected finite ones",
          cause,
          all[i],
          i,
          scaling);
    }
    return all;
  }

  /** Builds a {@link RotarySpec}. Not thread-safe. */
  public static final class Builder {
    private final int headDim;
    private int rotaryDim;
    private double theta = 10_000;
    private RotaryScaling scaling = RotaryScaling.plain();

    private Builder(int headDim) {
      checkArgument(
          headDim >= 2 && headDim <= MAX_HEAD_DIM,
          "headDim: %s; expected 2 to %s",
          headDim,
          MAX_HEAD_DIM);
      this.headDim = headDim;
    }

    /**
     * Sets the number of elements, from the start of a head, that rotate. The head size if not set;
     * with given frequencies, twice their number.
     *
     * @throws IllegalArgumentException if it is odd, or not within 2 to the head size
     */
    public Builder rotaryDim(int rotaryDim) {
      checkArgument(
          rotaryDim >= 2 && rotaryDim <= headDim && rotaryDim % 2 == 0,
          "rotaryDim: %s; expected an even number from 2 to headDim, %s",
          rotaryDim,
          headDim);
      this.rotaryDim = rotaryDim;
      return this;
    }

    /**
     * Sets the base of the frequencies. 10000 if not set.
     *
     * @throws IllegalArgumentException if it is not a positive, finite number
     */
    public Builder theta(double theta) {
      checkArgument(
          theta > 0 && theta < Double.POSITIVE_INFINITY,
          "theta: %s; expected a positive, finite number",
          theta);
      this.theta = theta;
      return this;
    }

    /** Sets the scaling of the frequencies. {@link RotaryScaling#plain()} if not set. */
    public Builder scaling(RotaryScaling scaling) {
      this.scaling = Objects.requireNonNull(scaling, "scaling: null; expected a RotaryScaling");
      return this;
    }

    /**
     * Returns the spec.
     *
     * @throws IllegalArgumentException if the head size is odd and no rotary dimension is set, the
     *     scaling's lists do not have one number per pair, or a frequency is not finite
     */
    public RotarySpec build() {
      return new RotarySpec(this);
    }

    private int evenHeadDim() {
      checkArgument(
          headDim % 2 == 0,
          "headDim: %s; expected an even number; an odd headDim needs an explicit rotaryDim",
          headDim);
      return headDim;
    }

    private int resolvedRotaryDim() {
      int dim = rotaryDim;
      if (dim == 0) {
        dim =
            scaling instanceof RotaryScaling.Given given
                ? Math.multiplyExact(2, given.inverseFrequencies().size())
                : evenHeadDim();
        rotaryDim(dim);
        rotaryDim = 0;
      }
      int pairs = dim / 2;
      if (scaling instanceof RotaryScaling.Given given) {
        requirePairs("inverseFrequencies", given.inverseFrequencies().size(), pairs);
      } else if (scaling instanceof RotaryScaling.LongRope longRope) {
        requirePairs("shortFactor", longRope.shortFactor().size(), pairs);
        requirePairs("longFactor", longRope.longFactor().size(), pairs);
      } else if (scaling instanceof RotaryScaling.Proportional proportional) {
        checkArgument(
            proportional.rotatingPairs() <= pairs,
            "rotatingPairs: %s; expected at most %s, half of rotaryDim",
            proportional.rotatingPairs(),
            pairs);
      } else if (scaling instanceof RotaryScaling.DynamicNtk) {
        checkArgument(dim > 2, "rotaryDim: 2; expected at least 4 with dynamic NTK scaling");
      } else if (scaling instanceof RotaryScaling.Yarn) {
        checkArgument(theta != 1, "theta: 1.0; expected another number with YaRN");
      }
      return dim;
    }

    private static void requirePairs(String name, int length, int pairs) {
      checkArgument(
          length == pairs, "%s: %s numbers; expected %s, half of rotaryDim", name, length, pairs);
    }
  }
}
