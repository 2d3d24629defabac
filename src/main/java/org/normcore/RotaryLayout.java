package org.normcore;

/** Which elements of a head form a pair; {@code r} is the rotary dimension. */
public enum RotaryLayout {
  /**
   * Elements {@code i} and {@code i + r/2}: the {@code rotate_half} of Hugging Face transformers;
   * Llama, Qwen, Mistral, Gemma, Phi, GPT-NeoX.
   */
  HALF_SPLIT,
  /**
   * Elements {@code 2i} and {@code 2i + 1}, as in the original paper (Su et al., "RoFormer", 2021);
   * GPT-J, Cohere, GLM, and Llama checkpoints in Meta's own form.
   */
  INTERLEAVED
}
