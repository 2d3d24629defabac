package org.normcore.cli;

import com.google.gson.JsonObject;
import java.util.Locale;
import org.normcore.RotaryRounding;
import org.normcore.RotarySpec;

/** Rotary position embeddings as text, formulas and JSON. */
public final class RotaryText {
  private RotaryText() {}

  /** The formula of a rotated pair, with every rounding. */
  public static String formula(RotaryRounding rounding) {
    return switch (rounding) {
      case COMPUTE -> "y1 = rd(x1 * cos - x2 * sin), y2 = rd(x2 * cos + x1 * sin)";
      case INPUT -> "y1 = rd(rd(x1 * cos) - rd(x2 * sin)), y2 = rd(rd(x2 * cos) + rd(x1 * sin))";
    };
  }

  /** The source of the frequencies: {@code theta 10000, plain}. */
  public static String frequencies(RotarySpec spec) {
    return "theta " + Numbers.exact(spec.theta()).replaceAll("\\.0$", "") + ", " + scaling(spec);
  }

  /** The name of the frequency scaling. */
  private static String scaling(RotarySpec spec) {
    String name = spec.scaling().getClass().getSimpleName();
    return name.replaceAll("([a-z0-9])([A-Z])", "$1-$2").toLowerCase(Locale.ROOT);
  }

  /** The spec's contents. */
  public static JsonObject json(RotarySpec spec) {
    JsonObject json = new JsonObject();
    json.addProperty("head_dim", spec.headDim());
    json.addProperty("rotary_dim", spec.rotaryDim());
    json.addProperty("theta", spec.theta());
    json.addProperty("scaling", scaling(spec));
    json.addProperty("attention_scaling", spec.attentionScaling());
    return json;
  }
}
