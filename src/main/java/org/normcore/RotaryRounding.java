package org.normcore;

/** Where {@link Rotary} rounds; {@code rd} rounds to the dtype of {@code x}. */
public enum RotaryRounding {
  /**
   * Rounds once: {@code y1 = rd(x1*cos - x2*sin)}, {@code y2 = rd(x2*cos + x1*sin)}, in float32,
   * without {@code fma}.
   */
  COMPUTE,
  /**
   * Rounds every operation, as in an expression of 16-bit tensors: {@code y1 = rd(rd(x1*cos) -
   * rd(x2*sin))}, {@code y2 = rd(rd(x2*cos) + rd(x1*sin))}. Hugging Face's {@code q*cos +
   * rotate_half(q)*sin}.
   */
  INPUT
}
