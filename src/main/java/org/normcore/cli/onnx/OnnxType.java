package org.normcore.cli.onnx;

import java.util.Optional;
import org.normcore.cli.safetensors.StoredType;

/** The numbers of {@code TensorProto.DataType}. */
final class OnnxType {
  private OnnxType() {}

  /**
   * The type of that number; empty for text, elements smaller than a byte and other unsupported
   * types.
   */
  static Optional<StoredType> find(long number) {
    if (number < 1 || number > 24) {
      return Optional.empty();
    }
    return switch ((int) number) {
      case 1 -> Optional.of(StoredType.F32);
      case 2 -> Optional.of(StoredType.U8);
      case 3 -> Optional.of(StoredType.I8);
      case 4 -> Optional.of(StoredType.U16);
      case 5 -> Optional.of(StoredType.I16);
      case 6 -> Optional.of(StoredType.I32);
      case 7 -> Optional.of(StoredType.I64);
      case 9 -> Optional.of(StoredType.BOOL);
      case 10 -> Optional.of(StoredType.F16);
      case 11 -> Optional.of(StoredType.F64);
      case 12 -> Optional.of(StoredType.U32);
      case 13 -> Optional.of(StoredType.U64);
      case 14 -> Optional.of(StoredType.C64);
      case 16 -> Optional.of(StoredType.BF16);
      case 17 -> Optional.of(StoredType.F8_E4M3);
      case 19 -> Optional.of(StoredType.F8_E5M2);
      case 24 -> Optional.of(StoredType.F8_E8M0);
      default -> Optional.empty();
    };
  }
}
