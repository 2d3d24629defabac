package org.normcore;

import org.normcore.internal.Codes;

/**
 * A number format of tensor elements.
 *
 * <p>Norms compute on {@link #FLOAT64}, {@link #FLOAT32}, {@link #BFLOAT16} and {@link #FLOAT16}.
 * The FP8 formats hold quantised tensors with separate scales ({@link Fp8Scaling}); {@link
 * #FLOAT8_E8M0} holds the scales of blocks. The caller always states the dtype; it is never
 * inferred from the class of a buffer.
 */
public enum DType {
  /** IEEE 754 binary64. */
  FLOAT64(8, "F64"),
  /** IEEE 754 binary32. */
  FLOAT32(4, "F32"),
  /** The upper 16 bits of binary32: 8 exponent bits, 7 fraction bits. */
  BFLOAT16(2, "BF16"),
  /** IEEE 754 binary16: 5 exponent bits, 10 fraction bits, largest finite value 65504. */
  FLOAT16(2, "F16"),
  /**
   * FP8 with 4 exponent and 3 fraction bits, the "fn" form without infinities; largest value 448,
   * saturating.
   */
  FLOAT8_E4M3(1, "F8_E4M3"),
  /** FP8 with 5 exponent and 2 fraction bits; largest finite value 57344, saturating. */
  FLOAT8_E5M2(1, "F8_E5M2"),
  /**
   * Unsigned powers of two, {@code 2^(code - 127)}; code 255 is NaN. Only for the scales of blocks.
   * Conversions read this format but do not write it.
   */
  FLOAT8_E8M0(1, "F8_E8M0");

  private final int bytes;
  private final String safetensorsName;

  DType(int bytes, String safetensorsName) {
    this.bytes = bytes;
    this.safetensorsName = safetensorsName;
  }

  /** Returns the size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /** Returns the code of this format in the C interface. */
  public int code() {
    return Codes.of(this);
  }

  /** Returns the name used in safetensors files, for example {@code BF16}. */
  public String safetensorsName() {
    return safetensorsName;
  }

  /** Returns whether norms compute on tensors of this format: all except the 8-bit formats. */
  public boolean isNormType() {
    return bytes > 1;
  }

  /** Returns whether this is one of the two formats of quantised values, E4M3 and E5M2. */
  public boolean isFp8() {
    return this == FLOAT8_E4M3 || this == FLOAT8_E5M2;
  }

  /**
   * Returns the promotion of two formats, as in PyTorch and NumPy: the same format if both are
   * equal, float64 if either is, float32 otherwise (bfloat16 with float16 is float32 too).
   *
   * @throws IllegalArgumentException if the formats differ and one of them has 8 bits
   */
  public static DType promote(DType a, DType b) {
    if (a == b) {
      return a;
    }
    if (!a.isNormType() || !b.isNormType()) {
      throw new IllegalArgumentException(
          "promote: "
              + a
              + " with "
              + b
              + "; formats of 8 bits are not promoted to others implicitly");
    }
    return a == FLOAT64 || b == FLOAT64 ? FLOAT64 : FLOAT32;
  }
}
