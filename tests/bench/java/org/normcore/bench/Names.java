package org.normcore.bench;

import java.util.Arrays;
import java.util.Locale;
import org.normcore.DType;

/** Enum constants in options and tables: {@code LAYER_NORM} is {@code layer-norm}. */
final class Names {
  private Names() {}

  static String of(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  static <E extends Enum<E>> E parse(Class<E> type, String text) {
    return Arrays.stream(type.getEnumConstants())
        .filter(constant -> of(constant).equals(text))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    text
                        + ": expected one of "
                        + Arrays.stream(type.getEnumConstants()).map(Names::of).toList()));
  }

  /** The types of {@code x} and of the weight, the second omitted if it is the same. */
  static String types(DType dtype, DType weightType) {
    return of(dtype) + (weightType == dtype ? "" : ", " + of(weightType) + " weight");
  }
}
