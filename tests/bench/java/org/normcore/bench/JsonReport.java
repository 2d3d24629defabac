package org.normcore.bench;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.util.List;
import java.util.Map;

/** All figures as one JSON document; times in nanoseconds. */
final class JsonReport {
  private JsonReport() {}

  static String text(Run run, List<Target> targets) {
    JsonObject root = new JsonObject();
    root.add("machine", strings(run.machine()));
    root.add("libraries", strings(run.libraries()));
    JsonObject effort = new JsonObject();
    effort.addProperty("rounds", run.effort().rounds());
    effort.addProperty("turn_ms", run.effort().millis());
    root.add("effort", effort);
    JsonArray table = new JsonArray();
    run.table().forEach(line -> table.add(line(line)));
    root.add("table", table);
    if (run.latencies() != null) {
      JsonArray latencies = new JsonArray();
      for (Latency latency : run.latencies()) {
        JsonObject object = workload(latency.workload());
        object.addProperty("library", latency.library());
        object.add("time", samples(latency.samples()));
        latencies.add(object);
      }
      root.add("latencies", latencies);
    }
    if (run.costs() != null) {
      JsonArray costs = new JsonArray();
      for (JavaCost cost : run.costs()) {
        JsonObject object = new JsonObject();
        object.addProperty("call", cost.call());
        object.addProperty("threads", cost.threads());
        object.addProperty("ns", rounded(cost.nanos()));
        if (!Double.isNaN(cost.bareNanos())) {
          object.addProperty("native_ns", rounded(cost.bareNanos()));
        }
        object.addProperty("allocated_bytes", rounded(cost.bytes()));
        costs.add(object);
      }
      root.add("java", costs);
    }
    JsonArray judged = new JsonArray();
    for (Target target : targets) {
      JsonObject object = new JsonObject();
      object.addProperty("target", target.name());
      object.addProperty("demand", target.demand());
      object.addProperty("measured", target.values().size());
      JsonArray missed = new JsonArray();
      for (Target.Value value : target.missed()) {
        JsonObject miss = new JsonObject();
        miss.addProperty("where", value.where());
        miss.addProperty("value", rounded(value.value()));
        missed.add(miss);
      }
      object.add("missed", missed);
      judged.add(object);
    }
    root.add("targets", judged);
    return new GsonBuilder().setPrettyPrinting().disableHtmlEscaping().create().toJson(root) + "\n";
  }

  private static JsonObject line(Measurement line) {
    JsonObject object = workload(line.workload());
    object.add("memcpy", samples(line.memcpy()));
    object.add("streaming_copy", samples(line.streaming()));
    JsonObject times = new JsonObject();
    line.times().forEach((library, samples) -> times.add(library, samples(samples)));
    object.add("times", times);
    object.add("absent", strings(line.absences()));
    return object;
  }

  private static JsonObject workload(Workload workload) {
    JsonObject object = new JsonObject();
    object.addProperty("op", Names.of(workload.kind()));
    object.addProperty("direction", workload.direction().label());
    object.addProperty("dtype", Names.of(workload.dtype()));
    object.addProperty("weight_dtype", Names.of(workload.weightType()));
    object.addProperty("rows", workload.shape().rows());
    object.addProperty("hidden_size", workload.shape().hiddenSize());
    object.addProperty("threads", workload.threads());
    return object;
  }

  private static JsonObject samples(Samples samples) {
    JsonObject object = new JsonObject();
    object.addProperty("median", rounded(samples.median()));
    object.addProperty("lower_quartile", rounded(samples.lowerQuartile()));
    object.addProperty("upper_quartile", rounded(samples.upperQuartile()));
    object.addProperty("samples", samples.count());
    return object;
  }

  private static JsonObject strings(Map<String, String> map) {
    JsonObject object = new JsonObject();
    map.forEach(object::addProperty);
    return object;
  }

  private static double rounded(double value) {
    return Math.abs(value) < 1e12 ? Math.round(value * 1000) / 1000.0 : value;
  }
}
