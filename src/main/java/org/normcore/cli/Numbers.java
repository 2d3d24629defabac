package org.normcore.cli;

import java.util.Locale;

/** Numbers as text. */
public final class Numbers {
  private Numbers() {}

  /** A fraction as a percentage; only 0 and 1 print as 0 % and 100 %. */
  public static String percent(double share) {
    double percent = 100 * share;
    if (percent == 0 || percent == 100) {
      return percent == 0 ? "0 %" : "100 %";
    }
    if (percent > 99.99) {
      return String.format(Locale.ROOT, "%.5f %%", Math.min(percent, 99.99999));
    }
    if (percent < 0.0001) {
      return String.format(Locale.ROOT, "%.1e %%", percent);
    }
    return String.format(Locale.ROOT, percent < 0.01 ? "%.4f %%" : "%.2f %%", percent);
  }

  /** All digits of a number in short form: 1e-5. */
  public static String exact(double value) {
    return Double.toString(value).replace(".0E", "e").replace('E', 'e');
  }

  /** A number with three significant digits. */
  public static String shortest(double value) {
    if (value == 0 || !Double.isFinite(value)) {
      return value == 0 ? "0" : Double.toString(value);
    }
    double magnitude = Math.abs(value);
    if (magnitude >= 1e-4 && magnitude < 1e6) {
      int decimals = Math.max(0, 2 - (int) Math.floor(Math.log10(magnitude)));
      String text = String.format(Locale.ROOT, "%." + decimals + "f", value);
      return text.contains(".") ? text.replaceAll("0+$", "").replaceAll("\\.$", "") : text;
    }
    return String.format(Locale.ROOT, "%.2e", value);
  }
}
