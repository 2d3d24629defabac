package org.normcore.cli.safetensors;

import java.util.Optional;
import org.normcore.DType;

/** The element types of the format, with the corresponding {@link DType} if there is one. */
public enum StoredType {
  BOOL(1, null),
  U8(1, null),
  I8(1, null),
  F8_E8M0(1, DType.FLOAT8_E8M0),
  F8_E5M2(1, DType.FLOAT8_E5M2),
  F8_E4M3(1, DType.FLOAT8_E4M3),
  I16(2, null),
  U16(2, null),
  F16(2, DType.FLOAT16),
  BF16(2, DType.BFLOAT16),
  I32(4, null),
  U32(4, null),
  F32(4, DType.FLOAT32),
  C64(8, null),
  F64(8, DType.FLOAT64),
  I64(8, null),
  U64(8, null);

  private final int bytes;
  private final DType dtype;

  StoredType(int bytes, DType dtype) {
    this.bytes = bytes;
    this.dtype = dtype;
  }

  /** The type of that name in a header. */
  public static Optional<StoredType> find(String name) {
    for (StoredType type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }

  /** The bytes of one element. */
  public int bytes() {
    return bytes;
  }

  /** The floating-point type, or empty for integers and other types. */
  public Optional<DType> dtype() {
    return Optional.ofNullable(dtype);
  }
}
