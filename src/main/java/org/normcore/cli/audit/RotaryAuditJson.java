package org.normcore.cli.audit;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import org.normcore.DType;
import org.normcore.Normcore;
import org.normcore.cli.Json;
import org.normcore.cli.OptionNames;
import org.normcore.cli.RotaryText;

/** An audit of rotary tables as JSON; null stands for infinity and NaN. */
final class RotaryAuditJson {
  private RotaryAuditJson() {}

  static JsonObject of(RotaryReport report) {
    JsonObject json = new JsonObject();
    json.addProperty("version", Normcore.version());
    json.addProperty("audit", "rotary");
    json.addProperty("config", report.config().map(Object::toString).orElse(null));
    json.add("spec", RotaryText.json(report.spec()));
    json.addProperty("positions", report.positionCount());
    json.addProperty("seed", report.seed());
    JsonArray dtypes = new JsonArray();
    report.dtypes().forEach(dtype -> dtypes.add(OptionNames.of(dtype)));
    json.add("dtypes", dtypes);
    json.addProperty("conclusion", report.conclusion());
    JsonArray methods = new JsonArray();
    report.methods().forEach(method -> methods.add(of(method, report.positionCount())));
    json.add("ways", methods);
    return json;
  }

  private static JsonObject of(RotaryReport.Method method, long positionCount) {
    JsonObject json = new JsonObject();
    json.addProperty("way", method.name());
    json.addProperty("sentence", method.sentence());
    json.addProperty("distinct_positions", method.distinct());
    json.addProperty(
        "first_wrong_position",
        method.firstWrong().isPresent() ? method.firstWrong().getAsLong() : null);
    json.addProperty(
        "first_lost_position",
        method.firstLost().isPresent() ? method.firstLost().getAsLong() : null);
    json.add("max_radians", Json.number(method.radians(positionCount)));
    JsonObject tables = new JsonObject();
    method
        .tables()
        .forEach(
            (dtype, error) -> {
              JsonObject table = errors(error.error());
              table.add("max_score_error", Json.number(error.maxScore()));
              table.add("rms_score_error", Json.number(error.rmsScore()));
              tables.add(OptionNames.of(dtype), table);
            });
    json.add("tables", tables);
    JsonArray points = new JsonArray();
    for (RotaryReport.Point point : method.points()) {
      JsonObject one = new JsonObject();
      one.addProperty("position", point.position());
      one.add("becomes", Json.number(point.becomes()));
      one.add("radians", Json.number(point.radians()));
      for (DType dtype : point.tables().keySet()) {
        one.add(OptionNames.of(dtype), errors(point.tables().get(dtype)));
      }
      points.add(one);
    }
    json.add("points", points);
    return json;
  }

  private static JsonObject errors(RotaryReport.Error error) {
    JsonObject json = new JsonObject();
    json.add("max_abs", Json.number(error.maxAbs()));
    json.add("max_ulp", Json.number(error.maxUlp()));
    return json;
  }
}
