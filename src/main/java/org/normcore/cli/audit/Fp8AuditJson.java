package org.normcore.cli.audit;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import org.normcore.Normcore;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.Json;

/** An audit of initial values as JSON. */
final class Fp8AuditJson {
  private Fp8AuditJson() {}

  static JsonObject of(Fp8Report report) {
    JsonObject json = new JsonObject();
    json.addProperty("version", Normcore.version());
    json.addProperty("audit", "fp8");
    DeviceNames.add(json, report.device());
    json.addProperty("model", report.model().map(Object::toString).orElse(null));
    json.addProperty("seed", report.seed());
    json.addProperty("conclusion", report.conclusion());
    JsonArray totals = new JsonArray();
    report.methods().forEach(method -> totals.add(of(method, report.total(method))));
    json.add("totals", totals);
    JsonArray cases = new JsonArray();
    for (Fp8Report.Case c : report.worstFirst()) {
      JsonObject one = new JsonObject();
      one.addProperty("values", c.name());
      one.addProperty("rows", c.rows());
      one.addProperty("columns", c.columns());
      JsonArray methods = new JsonArray();
      c.losses().forEach((method, losses) -> methods.add(of(method, losses)));
      one.add("ways", methods);
      cases.add(one);
    }
    json.add("cases", cases);
    return json;
  }

  private static JsonObject of(Fp8Method method, Fp8Losses losses) {
    JsonObject json = new JsonObject();
    json.addProperty("format", method.format());
    json.addProperty("scale", method.name());
    json.addProperty("elements", losses.elements());
    json.addProperty("non_finite", losses.nonFinite());
    json.addProperty("become_zero", losses.zeroShare());
    json.addProperty("saturated", losses.saturatedShare());
    json.add("master_error_rms", Json.number(losses.rmsError()));
    json.add("master_error_mean", Json.number(losses.meanRelativeError()));
    json.add("kept_error", Json.number(losses.keptError()));
    return json;
  }
}
