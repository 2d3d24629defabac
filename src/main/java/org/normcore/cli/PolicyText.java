package org.normcore.cli;

import com.google.gson.JsonObject;
import org.normcore.NormPolicy;

/** Policies as text, formulas and JSON. */
public final class PolicyText {
  private PolicyText() {}

  /** The formula of the output from the normalised value, with every rounding. */
  public static String formula(NormPolicy policy) {
    String gamma =
        switch (policy.gammaOffset()) {
          case NONE -> "w";
          case ONE_IN_COMPUTE -> "(w + 1)";
          case ONE_IN_WEIGHT -> "rd_W(w + 1)";
        };
    return switch (policy.scaleRounding()) {
      case COMPUTE -> "y = rd_O(xhat * " + gamma + " + b)";
      case INPUT -> "y = rd_O(rd_P(rd_P(rd_I(xhat) * " + gamma + ") + b))";
      case WEIGHT -> "y = rd_O(rd_W(rd_W(rd_W(xhat) * " + gamma + ") + b))";
    };
  }

  /** The policy in one sentence. */
  public static String sentence(NormPolicy policy) {
    String rounding =
        switch (policy.scaleRounding()) {
          case COMPUTE ->
              "The normalised value stays in the compute type to the end and is rounded once.";
          case INPUT ->
              "The normalised value is rounded to the input's type before the weight is applied.";
          case WEIGHT ->
              "The normalised value is rounded to the weight's type before the weight is applied.";
        };
    return switch (policy.gammaOffset()) {
      case NONE -> rounding;
      case ONE_IN_COMPUTE -> rounding + " One is added to the weight in the compute type.";
      case ONE_IN_WEIGHT -> rounding + " One is added to the weight in the weight's own type.";
    };
  }

  /** The policy's name and contents. */
  public static JsonObject json(NormPolicy policy) {
    JsonObject json = new JsonObject();
    json.addProperty("name", OptionNames.of(policy));
    json.addProperty("rounding", OptionNames.of(policy.scaleRounding()));
    json.addProperty("gamma_offset", OptionNames.of(policy.gammaOffset()));
    json.addProperty("variance", OptionNames.of(policy.variance()));
    json.addProperty("compute", OptionNames.of(policy.compute()));
    json.addProperty("residual_rounding", OptionNames.of(policy.residualRounding()));
    json.addProperty("formula", formula(policy));
    return json;
  }
}
