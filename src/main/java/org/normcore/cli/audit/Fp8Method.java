package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import org.normcore.DType;
import org.normcore.Fp8Spec;
import org.normcore.InitialValue;
import org.normcore.cli.OptionNames;

/**
 * A method of quantising initial values.
 *
 * @param name its name in reports
 * @param sentence the source of its scales
 * @param spec the recipe; it keeps the initial values
 */
record Fp8Method(String name, String sentence, Fp8Spec spec) {
  /** All methods of both formats. */
  static ImmutableList<Fp8Method> all() {
    ImmutableList.Builder<Fp8Method> methods = ImmutableList.builder();
    for (DType format : new DType[] {DType.FLOAT8_E4M3, DType.FLOAT8_E5M2}) {
      methods.add(
          of("scale-1", "The scale is 1.", spec(format).givenScale(1)),
          of(
              "own-amax",
              "The scale takes the largest value to the largest FP8 value.",
              spec(format)),
          of(
              "own-amax-power-of-two",
              "The same scale rounded down to a power of two.",
              spec(format).powerOfTwo(true)),
          of(
              "mxfp8",
              "Each 32 values of a row have their own power of two.",
              spec(format).mxfp8()));
    }
    return methods.build();
  }

  private static Fp8Method of(String name, String sentence, Fp8Spec.Builder builder) {
    return new Fp8Method(name, sentence, builder.build());
  }

  private static Fp8Spec.Builder spec(DType format) {
    return Fp8Spec.builder(format).initialValue(InitialValue.KEEP_UNTIL_CLEARED);
  }

  /** The format without the common prefix: {@code e4m3}. */
  String format() {
    return OptionNames.of(spec.format()).replace("float8-", "");
  }
}
