package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.cli.CommandRun;
import org.normcore.cli.safetensors.SafetensorsWriter;
import org.normcore.testing.Fp8Model;
import org.normcore.testing.Values;

/** The audit reproduces the figures of the bug report about initial values in FP8. */
class Fp8AuditTest {
  @TempDir private Path directory;

  private Path out() {
    return directory.resolve("audit");
  }

  private Object[] arguments(Object... more) {
    List<Object> all = new ArrayList<>(List.of("audit", "--fp8", "--out", out()));
    all.addAll(List.of(more));
    return all.toArray();
  }

  private JsonObject audit(Object... more) {
    List<Object> all = new ArrayList<>(List.of(more));
    all.add("--json");
    return CommandRun.succeeding(arguments(all.toArray())).json();
  }

  private static JsonObject of(JsonArray methods, String format, String scale) {
    for (JsonElement element : methods) {
      JsonObject method = element.getAsJsonObject();
      if (method.get("format").getAsString().equals(format)
          && method.get("scale").getAsString().equals(scale)) {
        return method;
      }
    }
    throw new AssertionError(format + ", " + scale);
  }

  private static JsonArray values(JsonObject json, String name) {
    for (JsonElement one : json.getAsJsonArray("cases")) {
      if (one.getAsJsonObject().get("values").getAsString().equals(name)) {
        return one.getAsJsonObject().getAsJsonArray("ways");
      }
    }
    throw new AssertionError(name);
  }

  private static double zeros(JsonArray methods, String format, String scale) {
    return of(methods, format, scale).get("become_zero").getAsDouble();
  }

  /**
   * The share of normal values within the given number of deviations of zero, by integration of the
   * density.
   */
  private static double within(double deviations) {
    double sum = 0;
    int steps = 1000;
    for (int i = 0; i < steps; i++) {
      double x = (i + 0.5) / steps * deviations;
      sum += Math.exp(-x * x / 2);
    }
    return 2 * sum / steps * deviations / Math.sqrt(2 * Math.PI);
  }

  @Test
  void scaleOneLosesSmallValues() {
    JsonObject json = audit();
    // Values up to half the smallest number of each format, 2^-9 and 2^-16, become zero. The
    // tolerance is five standard deviations of a share of 2^20 values.
    Object[][] cases = {
      {"normal, std 0.02", 0.02},
      {"normal, std 0.0025 (0.02 / sqrt(64))", 0.0025},
      {"normal, std 1", 1.0}
    };
    for (Object[] one : cases) {
      JsonArray methods = values(json, (String) one[0]);
      for (int format = 0; format < 2; format++) {
        String name = format == 0 ? "e4m3" : "e5m2";
        double expected = within((format == 0 ? 0x1p-10 : 0x1p-17) / (double) one[1]);
        double tolerance = 5 * Math.sqrt(expected / (1 << 20));
        assertEquals(expected, zeros(methods, name, "scale-1"), tolerance, one[0] + " in " + name);
        assertTrue(
            zeros(methods, name, "own-amax") < Math.max(zeros(methods, name, "scale-1"), 1e-5),
            one[0] + " in " + name);
      }
    }
    double uniform = zeros(values(json, "uniform, +-0.0156 (1 / sqrt(4096))"), "e4m3", "scale-1");
    assertEquals(1.0 / 16, uniform, 5 * Math.sqrt(uniform / (1 << 20)));
  }

  @Test
  void keptValuesAreExactAndRecoveredOnesAreNot() {
    JsonObject json = audit("--rows", 64, "--hidden", 100);
    int count = 0;
    for (JsonElement one : json.getAsJsonArray("cases")) {
      for (JsonElement method : one.getAsJsonObject().getAsJsonArray("ways")) {
        JsonObject losses = method.getAsJsonObject();
        assertEquals(0, losses.get("kept_error").getAsDouble());
        assertEquals(6400, losses.get("elements").getAsLong());
        assertEquals(0, losses.get("non_finite").getAsLong());
        assertEquals(0, losses.get("saturated").getAsDouble());
        // Rounding to 4 or 3 significant bits has a relative error of up to 2^-4 or 2^-3.
        boolean e4m3 = losses.get("format").getAsString().equals("e4m3");
        double error = losses.get("master_error_rms").getAsDouble();
        assertTrue(error > (e4m3 ? 0.015 : 0.03), losses.toString());
        if (!losses.get("scale").getAsString().equals("scale-1")) {
          assertTrue(error < (e4m3 ? 0x1p-4 : 0x1p-3), losses.toString());
        }
        count++;
      }
    }
    assertEquals(5 * 8, count);
  }

  /** A model's weights, compared with the quantisation by {@link org.normcore.testing.Fp8Model}. */
  @Test
  void modelWeights() throws IOException {
    Map<String, TensorView> tensors = new LinkedHashMap<>();
    try (Arena arena = new Arena()) {
      double[] first = Values.normal(1, 40 * 70, 0, 0.01);
      double[] second = Values.normal(2, 3 * 5 * 33, 0, 300);
      first[5] = 0;
      tensors.put("a.weight", arena.empty(DType.BFLOAT16, 40, 70).copyFrom(first));
      tensors.put("b.weight", arena.empty(DType.FLOAT64, 3, 5, 33).copyFrom(second));
      tensors.put("a.bias", arena.empty(DType.FLOAT32, 70).copyFrom(Values.normal(3, 70)));
      Path model = directory.resolve("model");
      Files.createDirectories(model);
      SafetensorsWriter.write(model.resolve("model.safetensors"), tensors);
      JsonObject json = audit("--model", model);
      assertEquals(2, json.getAsJsonArray("cases").size());
      assertEquals(model.toString(), json.get("model").getAsString());
      double[] a = tensors.get("a.weight").toDoubles();
      double[] b = arena.converted(tensors.get("b.weight"), DType.FLOAT32).toDoubles();
      for (String format : List.of("e4m3", "e5m2")) {
        Fp8Model of = Fp8Model.of(format.equals("e4m3") ? DType.FLOAT8_E4M3 : DType.FLOAT8_E5M2);
        assertLosses(of, 1, a, of(values(json, "a.weight"), format, "scale-1"));
        assertLosses(of, 1, b, of(values(json, "b.weight"), format, "scale-1"));
        for (boolean powerOfTwo : new boolean[] {false, true}) {
          String method = powerOfTwo ? "own-amax-power-of-two" : "own-amax";
          float scale = of.scale(Fp8Model.amax(a, 0, a.length), 0, powerOfTwo);
          assertLosses(of, scale, a, of(values(json, "a.weight"), format, method));
          scale = of.scale(Fp8Model.amax(b, 0, b.length), 0, powerOfTwo);
          assertLosses(of, scale, b, of(values(json, "b.weight"), format, method));
        }
      }
      JsonObject total = of(json.getAsJsonArray("totals"), "e4m3", "scale-1");
      assertEquals(a.length + b.length, total.get("elements").getAsLong());
      String text = CommandRun.succeeding(arguments("--model", model)).out();
      assertTrue(text.contains("2 weights of " + model), text);
      assertTrue(text.contains("all weights"), text);
    }
  }

  /** One NaN or infinity among the weights changes its count and no other number. */
  @Test
  void nonFiniteWeightsAreExcluded() throws IOException {
    for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16, DType.FLOAT64)) {
      for (double odd :
          new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
        Path model = directory.resolve(dtype + " " + odd);
        Files.createDirectories(model);
        double[] finite;
        try (Arena arena = new Arena()) {
          double[] values = Values.normal(4, 30 * 64, 0, 0.01);
          values[100] = odd;
          TensorView view = arena.empty(dtype, 30, 64).copyFrom(values);
          SafetensorsWriter.write(model.resolve("model.safetensors"), Map.of("a.weight", view));
          finite = view.toDoubles();
        }
        System.arraycopy(finite, 101, finite, 100, finite.length - 101);
        finite = Arrays.copyOf(finite, finite.length - 1);
        JsonObject json = audit("--model", model);
        for (JsonElement element : json.getAsJsonArray("totals")) {
          JsonObject total = element.getAsJsonObject();
          assertEquals(30 * 64, total.get("elements").getAsLong());
          assertEquals(1, total.get("non_finite").getAsLong());
          assertTrue(total.get("master_error_rms").getAsDouble() > 0, total.toString());
          assertTrue(total.get("master_error_mean").getAsDouble() > 0, total.toString());
          assertEquals(0, total.get("kept_error").getAsDouble());
        }
        for (String format : List.of("e4m3", "e5m2")) {
          Fp8Model of = Fp8Model.of(format.equals("e4m3") ? DType.FLOAT8_E4M3 : DType.FLOAT8_E5M2);
          assertLosses(of, 1, finite, of(json.getAsJsonArray("totals"), format, "scale-1"));
        }
        String text = CommandRun.succeeding(arguments("--model", model)).out();
        assertTrue(text.contains(": 1 value that is NaN or infinite."), text);
        assertTrue(text.contains("initial values are off by 0."), text);
        assertFalse(text.contains("NaN %"), text);
      }
    }
  }

  private static void assertLosses(
      Fp8Model model, float scale, double[] values, JsonObject actual) {
    int zeros = 0;
    int saturated = 0;
    double squares = 0;
    double errors = 0;
    double relative = 0;
    int nonzero = 0;
    for (double value : values) {
      double back = (float) model.decode(model.encode((float) value * scale)) * (1 / scale);
      zeros += back == 0 && value != 0 ? 1 : 0;
      saturated += Math.abs(value * scale) > model.largest() * 1.000001 ? 1 : 0;
      squares += value * value;
      errors += (back - value) * (back - value);
      nonzero += value == 0 ? 0 : 1;
      relative += value == 0 ? 0 : Math.abs(back - value) / Math.abs(value);
    }
    assertEquals((double) zeros / values.length, actual.get("become_zero").getAsDouble());
    assertEquals((double) saturated / values.length, actual.get("saturated").getAsDouble());
    assertEquals(Math.sqrt(errors / squares), actual.get("master_error_rms").getAsDouble(), 1e-6);
    assertEquals(relative / nonzero, actual.get("master_error_mean").getAsDouble(), 1e-6);
    assertEquals(0, actual.get("kept_error").getAsDouble());
  }

  @Test
  void resultsDependOnSeedNotThreads() {
    JsonObject one = audit("--rows", 8, "--hidden", 33);
    assertEquals(one, audit("--rows", 8, "--hidden", 33, "--threads", 1));
    assertFalse(
        one.get("cases").equals(audit("--rows", 8, "--hidden", 33, "--seed", 2).get("cases")));
  }

  @Test
  void reportPageContainsTheNumbers() throws IOException {
    String text = CommandRun.succeeding(arguments("--rows", 64, "--hidden", 64)).out();
    assertTrue(text.contains("Quantised straight to e4m3 with a scale of 1, "), text);
    assertTrue(text.contains("masters from the kept initial values are off by 0."), text);
    String page = Files.readString(out().resolve("fp8.html"));
    JsonObject saved =
        JsonParser.parseString(Files.readString(out().resolve("fp8.json"))).getAsJsonObject();
    assertTrue(page.contains(new Gson().toJson(saved)), "data");
    assertFalse(page.contains("{{"), "placeholders");
    assertTrue(page.contains("data-field=\"become_zero\""), "charts");
  }

  @Test
  void wrongOptions() throws IOException {
    CommandRun.refused("--dtype can't be given with --fp8", arguments("--dtype", "float32"));
    CommandRun.refused("--policies can't be given with --fp8", arguments("--policies", "t5"));
    CommandRun.refused("--rows is 0, expected at least 1", arguments("--rows", 0));
    CommandRun.refused("--hidden is 0, expected 1 to", arguments("--hidden", 0));
    CommandRun.refused(
        "--rows can't be given with --fp8 and --model",
        arguments("--rows", 2, "--model", directory));
    CommandRun.refused("need --rotary", arguments("--theta", 500));
    CommandRun.refused(
        "does not exist, expected a directory", arguments("--model", directory.resolve("nowhere")));
    Path empty = directory.resolve("empty");
    Files.createDirectories(empty);
    try (Arena arena = new Arena()) {
      SafetensorsWriter.write(
          empty.resolve("model.safetensors"),
          Map.of("bias", arena.empty(DType.FLOAT32, 3).copyFrom(new float[3])));
    }
    CommandRun.refused("has no weights: no tensors", arguments("--model", empty));
    assertFalse(Files.exists(out()));
  }
}
