package org.normcore.cli.compare;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import org.normcore.cli.Json;

/** A comparison as JSON. */
public final class ComparisonJson {
  private ComparisonJson() {}

  /** Ratios from 0 to 1, largest differences, the histogram and the first difference. */
  public static JsonObject of(Comparison comparison) {
    JsonObject json = new JsonObject();
    json.addProperty("elements", comparison.elements());
    json.addProperty("differing_elements", comparison.differing());
    json.addProperty("differing", comparison.differingShare());
    json.addProperty("beyond_0_01", comparison.beyondShare());
    json.add("max_abs", Json.number(comparison.maxAbs()));
    json.addProperty("max_ulp", comparison.maxUlp());
    json.addProperty("nan_mismatches", comparison.nanMismatches());
    JsonArray histogram = new JsonArray();
    for (UlpHistogram.Bucket bucket : comparison.histogram().buckets()) {
      JsonObject entry = new JsonObject();
      entry.addProperty("from", bucket.from());
      entry.addProperty("to", bucket.to());
      entry.addProperty("count", bucket.count());
      histogram.add(entry);
    }
    json.add("ulp_histogram", histogram);
    json.add(
        "first_difference", comparison.first().map(ComparisonJson::of).orElse(JsonNull.INSTANCE));
    return json;
  }

  private static JsonElement of(Comparison.Difference difference) {
    JsonObject json = new JsonObject();
    json.addProperty("index", difference.index());
    json.add("a", Json.number(difference.a()));
    json.add("b", Json.number(difference.b()));
    return json;
  }
}
