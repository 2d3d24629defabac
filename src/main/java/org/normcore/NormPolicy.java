package org.normcore;

import com.google.common.collect.ImmutableMap;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Where a norm rounds, forward and backward: an immutable value made of {@link ScaleRounding},
 * {@link GammaOffset}, {@link VarianceAlgorithm}, {@link ComputeType} and {@link ResidualRounding}.
 *
 * <p>There is no default policy. Use the preset of the framework or model to match, look one up
 * with {@link #forModelType}, or build one with {@link #builder}.
 *
 * <pre>{@code
 * NormPolicy llama = NormPolicy.forModelType("qwen3");
 * System.out.println(llama.name());   // HUGGING_FACE_LLAMA
 * System.out.println(llama.outputDType(DType.BFLOAT16, DType.FLOAT32));   // FLOAT32
 * NormPolicy exact = llama.toBuilder().compute(ComputeType.FLOAT64).build();
 * System.out.println(exact.name());   // INPUT+FLOAT64
 * NormPolicy own =
 *     NormPolicy.builder(ScaleRounding.INPUT).gammaOffset(GammaOffset.ONE_IN_COMPUTE).build();
 * System.out.println(own.name());     // INPUT+ONE_IN_COMPUTE
 * }</pre>
 *
 * <table>
 * <caption>The presets and their sources</caption>
 * <tr><th>preset</th><th>rounding</th><th>gamma</th><th>source</th></tr>
 * <tr><td>{@link #TRANSFORMER_ENGINE}</td><td>COMPUTE</td><td>NONE</td><td>NVIDIA TransformerEngine,
 *     common/normalization</td></tr>
 * <tr><td>{@link #TRANSFORMER_ENGINE_ZERO_CENTERED}</td><td>COMPUTE</td><td>ONE_IN_COMPUTE</td><td>the same with
 *     zero_centered_gamma</td></tr>
 * <tr><td>{@link #HUGGING_FACE_LLAMA}</td><td>INPUT</td><td>NONE</td><td>Hugging Face transformers,
 *     models/llama/modeling_llama.py, LlamaRMSNorm</td></tr>
 * <tr><td>{@link #T5}</td><td>WEIGHT</td><td>NONE</td><td>models/t5/modeling_t5.py, T5LayerNorm</td></tr>
 * <tr><td>{@link #GEMMA}</td><td>COMPUTE</td><td>ONE_IN_COMPUTE</td><td>models/gemma/modeling_gemma.py,
 *     GemmaRMSNorm</td></tr>
 * <tr><td>{@link #PYTORCH}</td><td>COMPUTE</td><td>NONE</td><td>torch.nn.functional.layer_norm and rms_norm</td></tr>
 * <tr><td>{@link #LAYER_NORM_1P}</td><td>COMPUTE</td><td>ONE_IN_WEIGHT</td><td>models/nemotron/modeling_nemotron.py,
 *     NemotronLayerNorm1P</td></tr>
 * <tr><td>{@link #DEBERTA}</td><td>INPUT</td><td>NONE</td><td>models/deberta/modeling_deberta.py,
 *     DebertaLayerNorm</td></tr>
 * <tr><td>{@link #ONEFLOW}</td><td>INPUT</td><td>NONE</td><td>OneFlow, layer_norm kernels</td></tr>
 * <tr><td>{@link #ONNX}</td><td>INPUT</td><td>NONE</td><td>ONNX, LayerNormalization and RMSNormalization: stage one in
 *     float32, cast back, stage two in the input's type</td></tr>
 * </table>
 *
 * <p>All presets use the two-pass variance, compute in float32 and round the residual sum to the
 * input dtype. Frameworks sum in different orders (PyTorch, for example, merges Welford partial
 * sums), which can change the last bits of a float32 statistic. Two passes are closest to the exact
 * value and therefore the default; {@code
 * NormPolicy.PYTORCH.toBuilder().variance(VarianceAlgorithm.WELFORD).build()} selects the other
 * algorithm.
 *
 * <p>Equality compares the contents, not the name: {@link #PYTORCH} equals {@link
 * #TRANSFORMER_ENGINE}. The name is for reports.
 */
public final class NormPolicy {
  /** One rounding at the end. NVIDIA TransformerEngine, also OLMo2 and gpt-oss. */
  public static final NormPolicy TRANSFORMER_ENGINE =
      preset("TRANSFORMER_ENGINE", ScaleRounding.COMPUTE, GammaOffset.NONE);

  /**
   * One rounding at the end, one added to the weight in float32. TransformerEngine with
   * zero_centered_gamma.
   */
  public static final NormPolicy TRANSFORMER_ENGINE_ZERO_CENTERED =
      preset("TRANSFORMER_ENGINE_ZERO_CENTERED", ScaleRounding.COMPUTE, GammaOffset.ONE_IN_COMPUTE);

  /**
   * The normalised value is rounded to the input's dtype before the multiply. Llama, Mistral, Qwen,
   * DeepSeek.
   */
  public static final NormPolicy HUGGING_FACE_LLAMA =
      preset("HUGGING_FACE_LLAMA", ScaleRounding.INPUT, GammaOffset.NONE);

  /** The normalised value is rounded to the weight's dtype before the multiply. T5, mT5, UMT5. */
  public static final NormPolicy T5 = preset("T5", ScaleRounding.WEIGHT, GammaOffset.NONE);

  /** One rounding at the end, one added to the weight in float32. Gemma, Qwen3-Next. */
  public static final NormPolicy GEMMA =
      preset("GEMMA", ScaleRounding.COMPUTE, GammaOffset.ONE_IN_COMPUTE);

  /**
   * One rounding at the end. PyTorch's own layer_norm and rms_norm, hence BERT, GPT-2 and most
   * LayerNorm models.
   */
  public static final NormPolicy PYTORCH =
      preset("PYTORCH", ScaleRounding.COMPUTE, GammaOffset.NONE);

  /** One rounding at the end; {@code w + 1} is rounded to the weight's dtype first. Nemotron. */
  public static final NormPolicy LAYER_NORM_1P =
      preset("LAYER_NORM_1P", ScaleRounding.COMPUTE, GammaOffset.ONE_IN_WEIGHT);

  /** The normalised value is rounded to the input's dtype before weight and bias. DeBERTa. */
  public static final NormPolicy DEBERTA = preset("DEBERTA", ScaleRounding.INPUT, GammaOffset.NONE);

  /** The normalised value is rounded to the input's dtype before weight and bias. OneFlow. */
  public static final NormPolicy ONEFLOW = preset("ONEFLOW", ScaleRounding.INPUT, GammaOffset.NONE);

  /**
   * The normalised value is rounded to the input's dtype before weight and bias. ONNX operators.
   */
  public static final NormPolicy ONNX = preset("ONNX", ScaleRounding.INPUT, GammaOffset.NONE);

  private static final ImmutableMap<String, NormPolicy> PRESETS =
      ImmutableMap.<String, NormPolicy>builder()
          .put(TRANSFORMER_ENGINE.name, TRANSFORMER_ENGINE)
          .put(TRANSFORMER_ENGINE_ZERO_CENTERED.name, TRANSFORMER_ENGINE_ZERO_CENTERED)
          .put(HUGGING_FACE_LLAMA.name, HUGGING_FACE_LLAMA)
          .put(T5.name, T5)
          .put(GEMMA.name, GEMMA)
          .put(PYTORCH.name, PYTORCH)
          .put(LAYER_NORM_1P.name, LAYER_NORM_1P)
          .put(DEBERTA.name, DEBERTA)
          .put(ONEFLOW.name, ONEFLOW)
          .put(ONNX.name, ONNX)
          .buildOrThrow();

  private final String name;
  private final ScaleRounding scaleRounding;
  private final GammaOffset gammaOffset;
  private final VarianceAlgorithm variance;
  private final ComputeType compute;
  private final ResidualRounding residualRounding;

  private NormPolicy(@Nullable String name, Builder builder) {
    this.scaleRounding = builder.scaleRounding;
    this.gammaOffset = builder.gammaOffset;
    this.variance = builder.variance;
    this.compute = builder.compute;
    this.residualRounding = builder.residualRounding;
    this.name = name == null ? describe() : name;
  }

  private static NormPolicy preset(String name, ScaleRounding rounding, GammaOffset gammaOffset) {
    return new NormPolicy(name, new Builder(rounding).gammaOffset(gammaOffset));
  }

  /** Returns the presets by constant name, in the order of the table above. */
  public static Map<String, NormPolicy> presets() {
    return PRESETS;
  }

  /**
   * Returns the preset that matches the main norm of a Hugging Face model family.
   *
   * @param modelType the {@code model_type} of a {@code config.json}, for example {@code qwen3}
   * @throws IllegalArgumentException if the family is not in the table; the message names the
   *     nearest ones
   * @see ModelType
   */
  public static NormPolicy forModelType(String modelType) {
    return ModelType.of(modelType).policy();
  }

  /**
   * Returns a builder with the given rounding, {@link GammaOffset#NONE}, {@link
   * VarianceAlgorithm#TWO_PASS}, {@link ComputeType#FLOAT32} and {@link ResidualRounding#INPUT}.
   */
  public static Builder builder(ScaleRounding rounding) {
    return new Builder(
        Objects.requireNonNull(rounding, "rounding: null; expected a ScaleRounding"));
  }

  /** Returns a builder that starts from this policy's contents. */
  public Builder toBuilder() {
    return new Builder(scaleRounding)
        .gammaOffset(gammaOffset)
        .variance(variance)
        .compute(compute)
        .residualRounding(residualRounding);
  }

  /** Returns the rounding of the normalised value. */
  public ScaleRounding scaleRounding() {
    return scaleRounding;
  }

  /** Returns the offset of the weight. */
  public GammaOffset gammaOffset() {
    return gammaOffset;
  }

  /** Returns LayerNorm's variance algorithm. RMSNorm ignores it. */
  public VarianceAlgorithm variance() {
    return variance;
  }

  /** Returns the type of all arithmetic between roundings. */
  public ComputeType compute() {
    return compute;
  }

  /** Returns the rounding of the residual sum. */
  public ResidualRounding residualRounding() {
    return residualRounding;
  }

  /**
   * Returns the constant's name for a preset; for a built policy its rounding and all non-default
   * components, for example {@code INPUT+ONE_IN_COMPUTE}.
   */
  public String name() {
    return name;
  }

  /**
   * Returns the default dtype of {@code y}, as in the frameworks: the input dtype under {@link
   * ScaleRounding#COMPUTE}, the promotion of input and weight under {@link ScaleRounding#INPUT},
   * the weight dtype under {@link ScaleRounding#WEIGHT}.
   */
  public DType outputDType(DType input, DType weight) {
    return switch (scaleRounding) {
      case COMPUTE -> input;
      case INPUT -> DType.promote(input, weight);
      case WEIGHT -> weight;
    };
  }

  /** Returns whether the other policy has the same contents; names are ignored. */
  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof NormPolicy that
        && scaleRounding == that.scaleRounding
        && gammaOffset == that.gammaOffset
        && variance == that.variance
        && compute == that.compute
        && residualRounding == that.residualRounding;
  }

  @Override
  public int hashCode() {
    return Objects.hash(scaleRounding, gammaOffset, variance, compute, residualRounding);
  }

  /** Returns the name and all contents. */
  @Override
  public String toString() {
    return name
        + "(scaleRounding="
        + scaleRounding
        + ", gammaOffset="
        + gammaOffset
        + ", variance="
        + variance
        + ", compute="
        + compute
        + ", residualRounding="
        + residualRounding
        + ")";
  }

  private String describe() {
    StringBuilder text = new StringBuilder(scaleRounding.name());
    if (gammaOffset != GammaOffset.NONE) {
      text.append('+').append(gammaOffset);
    }
    if (variance != VarianceAlgorithm.TWO_PASS) {
      text.append('+').append(variance);
    }
    if (compute != ComputeType.FLOAT32) {
      text.append('+').append(compute);
    }
    if (residualRounding != ResidualRounding.INPUT) {
      text.append("+RESIDUAL_").append(residualRounding);
    }
    return text.toString();
  }

  /** Builds a {@link NormPolicy}. Not thread-safe. */
  public static final class Builder {
    private ScaleRounding scaleRounding;
    private GammaOffset gammaOffset = GammaOffset.NONE;
    private VarianceAlgorithm variance = VarianceAlgorithm.TWO_PASS;
    private ComputeType compute = ComputeType.FLOAT32;
    private ResidualRounding residualRounding = ResidualRounding.INPUT;

    private Builder(ScaleRounding scaleRounding) {
      this.scaleRounding =
          Objects.requireNonNull(scaleRounding, "scaleRounding: null; expected a ScaleRounding");
    }

    /** Sets the rounding of the normalised value. */
    public Builder scaleRounding(ScaleRounding scaleRounding) {
      this.scaleRounding =
          Objects.requireNonNull(scaleRounding, "scaleRounding: null; expected a ScaleRounding");
      return this;
    }

    /** Sets the offset of the weight. */
    public Builder gammaOffset(GammaOffset gammaOffset) {
      this.gammaOffset =
          Objects.requireNonNull(gammaOffset, "gammaOffset: null; expected a GammaOffset");
      return this;
    }

    /** Sets LayerNorm's variance algorithm. */
    public Builder variance(VarianceAlgorithm variance) {
      this.variance =
          Objects.requireNonNull(variance, "variance: null; expected a VarianceAlgorithm");
      return this;
    }

    /** Sets the type of all arithmetic between roundings. */
    public Builder compute(ComputeType compute) {
      this.compute = Objects.requireNonNull(compute, "compute: null; expected a ComputeType");
      return this;
    }

    /** Sets the rounding of the residual sum. */
    public Builder residualRounding(ResidualRounding residualRounding) {
      this.residualRounding =
          Objects.requireNonNull(
              residualRounding, "residualRounding: null; expected a ResidualRounding");
      return this;
    }

    /** Returns the policy. */
    public NormPolicy build() {
      return new NormPolicy(null, this);
    }
  }
}
