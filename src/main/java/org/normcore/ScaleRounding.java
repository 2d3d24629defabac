package org.normcore;

/**
 * Where the computation of {@code y} rounds the normalised value {@code xhat}.
 *
 * <p>{@code I}, {@code W} and {@code O} are the dtypes of input, weight and output; {@code P} is
 * the promotion of {@code I} and {@code W}; {@code rd_T} rounds to nearest even into {@code T};
 * {@code g} is the weight after {@link GammaOffset}. Everything between roundings is computed in
 * the {@link ComputeType}.
 */
public enum ScaleRounding {
  /**
   * Rounds once, at the end: {@code y = rd_O(xhat*g + b)}. NVIDIA TransformerEngine, PyTorch's
   * {@code rms_norm} and {@code layer_norm}, Gemma, OLMo2, gpt-oss.
   *
   * <p>Backward: {@code h = dy*g}; the weight gradient's terms are {@code dy*xhat}.
   */
  COMPUTE,
  /**
   * Rounds the normalised value to the input's dtype before the multiply: {@code n = rd_I(xhat)},
   * {@code t = rd_P(n*g)}, with a bias {@code t = rd_P(t + b)}, {@code y = rd_O(t)}. Hugging Face's
   * Llama, Mistral, Qwen and DeepSeek, DeBERTa, ONNX, OneFlow.
   *
   * <p>Backward: {@code h = rd_I(rd_P(dy*g))}; the weight gradient's terms are {@code rd_P(dy*n)}.
   */
  INPUT,
  /**
   * Rounds the normalised value to the weight's dtype before the multiply: as {@link #INPUT} with
   * {@code n = rd_W(xhat)} and {@code P = W}. T5.
   *
   * <p>Backward: {@code h = rd_W(rd_W(dy*g))}; the weight gradient's terms are {@code rd_W(dy*n)}.
   */
  WEIGHT
}
