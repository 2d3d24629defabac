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
    JsonArray ways = new JsonArray();
    report.ways().forEach(way -> ways.add(of(way, report.positionCount())));
    json.add("ways", ways);
    return json;
  }

  private static JsonObject of(RotaryReport.Way way, long positionCount) {
    JsonObject json = new JsonObject();
    json.addProperty("way", way.name());
    json.addProperty("sentence", way.sentence());
    json.addProperty("distinct_positions", way.distinct());
    json.addProperty(
        "first_wrong_position", way.firstWrong().isPresent() ? way.firstWrong().getAsLong() : null);
    json.addProperty(
        "first_lost_position", way.firstLost().isPresent() ? way.firstLost().getAsLong() : null);
    json.add("max_radians", Json.number(way.radians(positionCount)));
    JsonObject tables = new JsonObject();
    way.tables()
        .forEach(
            (dtype, error) -> {
              JsonObject table = errors(error.error());
              table.add("max_score_error", Json.number(error.maxScore()));
              table.add("rms_score_error", Json.number(error.rmsScore()));
              tables.add(OptionNames.of(dtype), table);
            });
    json.add("tables", tables);
    JsonArray points = new JsonArray();
    for (RotaryReport.Point point : way.points()) {
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
