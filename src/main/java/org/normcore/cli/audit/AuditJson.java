package org.normcore.cli.audit;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import org.normcore.DType;
import org.normcore.NormPolicy;
import org.normcore.Normcore;
import org.normcore.VectorLevel;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.Json;
import org.normcore.cli.OptionNames;
import org.normcore.cli.PolicyText;
import org.normcore.cli.compare.ComparisonJson;

/** An audit's result as JSON. */
final class AuditJson {
  private AuditJson() {}

  static JsonObject of(AuditReport report) {
    JsonObject json = new JsonObject();
    json.addProperty("version", Normcore.version());
    json.addProperty("vector_level", OptionNames.of(VectorLevel.best()));
    DeviceNames.add(json, report.device());
    json.addProperty("seed", report.seed());
    json.addProperty("epsilon", report.epsilon());
    json.add(
        "model", report.model().map(model -> (JsonElement) model.json()).orElse(JsonNull.INSTANCE));
    JsonArray policies = new JsonArray();
    for (NormPolicy policy : report.policies()) {
      policies.add(PolicyText.json(policy));
    }
    json.add("policies", policies);
    JsonArray dtypes = new JsonArray();
    for (DType dtype : report.dtypes()) {
      dtypes.add(OptionNames.of(dtype));
    }
    json.add("dtypes", dtypes);
    json.addProperty("conclusion", report.conclusion());
    JsonArray cases = new JsonArray();
    for (AuditCase auditCase : report.cases()) {
      cases.add(of(auditCase));
    }
    json.add("cases", cases);
    JsonArray recorded = new JsonArray();
    for (RecordedCase recordedCase : report.recorded()) {
      recorded.add(of(recordedCase));
    }
    json.add("recorded", recorded);
    return json;
  }

  private static JsonObject of(AuditCase auditCase) {
    JsonObject json = new JsonObject();
    json.addProperty("norm", auditCase.norm());
    json.addProperty("op", OptionNames.of(auditCase.kind()));
    json.addProperty("epsilon", auditCase.epsilon());
    json.addProperty("dtype", OptionNames.of(auditCase.dtype()));
    json.addProperty("rows", auditCase.rows());
    json.addProperty("hidden", auditCase.hiddenSize());
    json.addProperty("hidden_states", auditCase.drawn() ? "drawn" : "recorded");
    JsonArray policies = new JsonArray();
    policies.add(auditCase.a());
    policies.add(auditCase.b());
    json.add("policies", policies);
    auditCase
        .tensors()
        .forEach((name, comparison) -> json.add(name, ComparisonJson.of(comparison)));
    return json;
  }

  private static JsonObject of(RecordedCase recordedCase) {
    JsonObject json = new JsonObject();
    json.addProperty("norm", recordedCase.norm());
    json.addProperty("dtype", OptionNames.of(recordedCase.dtype()));
    json.addProperty("policy", recordedCase.policy());
    json.add("recorded", of(recordedCase.recorded()));
    json.add("normcore", of(recordedCase.normcore()));
    json.add("normcore_float64", of(recordedCase.normcoreFloat64()));
    return json;
  }

  private static JsonObject of(RecordedCase.Errors errors) {
    JsonObject json = new JsonObject();
    json.add("max_error", Json.number(errors.max()));
    json.add("rms_error", Json.number(errors.rms()));
    return json;
  }
}
