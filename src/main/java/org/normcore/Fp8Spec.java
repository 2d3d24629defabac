package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.util.Objects;

/**
 * How an {@link Fp8Parameter} is quantised, and how long it keeps its initial value. Immutable.
 *
 * <pre>{@code
 * Fp8Spec spec = Fp8Spec.builder(DType.FLOAT8_E4M3)
 *     .initialValue(InitialValue.KEEP_UNTIL_FIRST_FORWARD).build();
 * }</pre>
 *
 * @param format {@link DType#FLOAT8_E4M3} or {@link DType#FLOAT8_E5M2}
 * @param recipe how the scale is obtained
 * @param margin the number of powers of two by which the scale is reduced, 0 to {@value
 *     #MAX_MARGIN}; 0 with a given scale and with MXFP8
 * @param powerOfTwo whether the scale is rounded down to a power of two; false with a given scale,
 *     and with MXFP8, whose scales are always powers of two
 * @param givenScale the scale of {@link Fp8Recipe#GIVEN}; NaN with all others
 * @param historyLength the number of amaxes that {@link Fp8Recipe#DELAYED} keeps, 1 to {@value
 *     #MAX_HISTORY_LENGTH}; 0 with all others
 * @param initialValue how long the source values are kept
 */
public record Fp8Spec(
    DType format,
    Fp8Recipe recipe,
    int margin,
    boolean powerOfTwo,
    float givenScale,
    int historyLength,
    InitialValue initialValue) {
  /** The largest margin. */
  public static final int MAX_MARGIN = 64;

  /** The longest history of amaxes. */
  public static final int MAX_HISTORY_LENGTH = 1 << 16;

  /**
   * Checks that the components are consistent.
   *
   * @throws IllegalArgumentException if a number is out of range, the format is not an FP8 format,
   *     or a component does not apply to the recipe
   */
  public Fp8Spec {
    checkArgument(
        Objects.requireNonNull(format, "format: null; expected a DType").isFp8(),
        "format: %s; expected FLOAT8_E4M3 or FLOAT8_E5M2",
        format);
    Objects.requireNonNull(recipe, "recipe: null; expected an Fp8Recipe");
    Objects.requireNonNull(initialValue, "initialValue: null; expected an InitialValue");
    checkArgument(
        margin >= 0 && margin <= MAX_MARGIN, "margin: %s; expected 0 to %s", margin, MAX_MARGIN);
    boolean computed = recipe == Fp8Recipe.CURRENT || recipe == Fp8Recipe.DELAYED;
    checkArgument(
        computed || margin == 0,
        "margin: %s with %s; expected 0, because this recipe uses no amax",
        margin,
        recipe);
    checkArgument(
        computed || !powerOfTwo,
        "powerOfTwo: true with %s; expected false, because this recipe uses no amax",
        recipe);
    if (recipe == Fp8Recipe.GIVEN) {
      checkArgument(
          givenScale >= Float.MIN_NORMAL && givenScale <= Float.MAX_VALUE,
          "givenScale: %s; expected a positive, normal float32 number",
          givenScale);
    } else {
      checkArgument(
          Float.isNaN(givenScale),
          "givenScale: %s with %s; expected NaN, because this recipe takes no given scale",
          givenScale,
          recipe);
    }
    if (recipe == Fp8Recipe.DELAYED) {
      checkArgument(
          historyLength >= 1 && historyLength <= MAX_HISTORY_LENGTH,
          "historyLength: %s; expected 1 to %s",
          historyLength,
          MAX_HISTORY_LENGTH);
    } else {
      checkArgument(
          historyLength == 0,
          "historyLength: %s with %s; expected 0, because this recipe has no history",
          historyLength,
          recipe);
    }
  }

  /**
   * Returns a builder with {@link Fp8Recipe#CURRENT}, no margin, an exact scale and no kept initial
   * value.
   *
   * @param format {@link DType#FLOAT8_E4M3} or {@link DType#FLOAT8_E5M2}
   */
  public static Builder builder(DType format) {
    return new Builder(format);
  }

  /** Returns a builder that starts from this spec. */
  public Builder toBuilder() {
    Builder builder = new Builder(format);
    builder.recipe = recipe;
    builder.margin = margin;
    builder.powerOfTwo = powerOfTwo;
    builder.givenScale = givenScale;
    builder.historyLength = historyLength;
    builder.initialValue = initialValue;
    return builder;
  }

  /** Returns whether there is one scale per tensor or one per block. */
  public Fp8Scaling scaling() {
    return recipe.scaling();
  }

  /** Builds an {@link Fp8Spec}. Not thread-safe. */
  public static final class Builder {
    private final DType format;
    private Fp8Recipe recipe = Fp8Recipe.CURRENT;
    private int margin;
    private boolean powerOfTwo;
    private float givenScale = Float.NaN;
    private int historyLength;
    private InitialValue initialValue = InitialValue.DISCARD;

    private Builder(DType format) {
      this.format = Objects.requireNonNull(format, "format: null; expected a DType");
    }

    private Builder recipe(Fp8Recipe recipe, float givenScale, int historyLength) {
      this.recipe = recipe;
      this.givenScale = givenScale;
      this.historyLength = historyLength;
      return this;
    }

    /** Derives the scale from the data's own amax: {@link Fp8Recipe#CURRENT}. */
    public Builder currentScaling() {
      return recipe(Fp8Recipe.CURRENT, Float.NaN, 0);
    }

    /** Derives the scale from the amaxes of past quantisations: {@link Fp8Recipe#DELAYED}. */
    public Builder delayedScaling(int historyLength) {
      return recipe(Fp8Recipe.DELAYED, Float.NaN, historyLength);
    }

    /** Multiplies values by the given scale: {@link Fp8Recipe#GIVEN}. */
    public Builder givenScale(float scale) {
      return recipe(Fp8Recipe.GIVEN, scale, 0);
    }

    /** Uses one power of two per block of 32: {@link Fp8Recipe#MXFP8}. */
    public Builder mxfp8() {
      return recipe(Fp8Recipe.MXFP8, Float.NaN, 0);
    }

    /**
     * Reduces the scale by this number of powers of two, as headroom for larger values. 0 if not
     * set.
     */
    public Builder margin(int margin) {
      this.margin = margin;
      return this;
    }

    /** Sets whether the scale is rounded down to a power of two. It is exact if not set. */
    public Builder powerOfTwo(boolean powerOfTwo) {
      this.powerOfTwo = powerOfTwo;
      return this;
    }

    /** Sets how long the source values are kept. {@link InitialValue#DISCARD} if not set. */
    public Builder initialValue(InitialValue initialValue) {
      this.initialValue =
          Objects.requireNonNull(initialValue, "initialValue: null; expected an InitialValue");
      return this;
    }

    /**
     * Returns the spec.
     *
     * @throws IllegalArgumentException if a number is out of range, the format is not an FP8
     *     format, or a component does not apply to the recipe
     */
    public Fp8Spec build() {
      return new Fp8Spec(
          format, recipe, margin, powerOfTwo, givenScale, historyLength, initialValue);
    }
  }
}
