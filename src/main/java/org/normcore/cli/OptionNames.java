package org.normcore.cli;

import com.google.common.base.Ascii;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.normcore.DType;
import org.normcore.NormPolicy;
import picocli.CommandLine.TypeConversionException;

/** The spelling of Java constants on the command line and in JSON: lower case, with dashes. */
public final class OptionNames {
  private OptionNames() {}

  /** A constant's name as an option's value. */
  public static String of(Enum<?> constant) {
    return of(constant.name());
  }

  /** A policy's name as an option's value. */
  public static String of(NormPolicy policy) {
    return of(policy.name());
  }

  private static String of(String name) {
    return Ascii.toLowerCase(name).replace('_', '-');
  }

  /** The constant with that name, in either spelling and case. */
  public static <E extends Enum<E>> E parse(Class<E> type, String text) {
    return parse(Arrays.asList(type.getEnumConstants()), text);
  }

  /** The dtype with that name, except the dtype of block scales. */
  public static DType parseDType(String text) {
    return parse(
        Arrays.stream(DType.values()).filter(dtype -> dtype != DType.FLOAT8_E8M0).toList(), text);
  }

  private static <E extends Enum<E>> E parse(List<E> constants, String text) {
    for (E constant : constants) {
      if (of(constant).equals(of(text))) {
        return constant;
      }
    }
    String known = constants.stream().map(OptionNames::of).collect(Collectors.joining(", "));
    throw new TypeConversionException("\"" + text + "\" is not one of " + known);
  }

  /** The preset with that name. */
  public static NormPolicy parsePolicy(String text) {
    for (NormPolicy policy : NormPolicy.presets().values()) {
      if (of(policy).equals(of(text))) {
        return policy;
      }
    }
    String known =
        NormPolicy.presets().values().stream()
            .map(OptionNames::of)
            .collect(Collectors.joining(", "));
    throw new TypeConversionException("\"" + text + "\" is not one of " + known);
  }
}
