package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.Gson;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.cli.CommandRun;

/** The audit reproduces the figures of the bug report about position tables. */
class RotaryAuditTest {
  @TempDir private Path directory;

  private Path out() {
    return directory.resolve("audit");
  }

  private Object[] arguments(Object... more) {
    List<Object> all = new ArrayList<>(List.of("audit", "--rotary", "--out", out()));
    all.addAll(List.of(more));
    return all.toArray();
  }

  private JsonObject audit(Object... more) {
    List<Object> all = new ArrayList<>(List.of(more));
    all.add("--json");
    return CommandRun.succeeding(arguments(all.toArray())).json();
  }

  private static JsonObject method(JsonObject json, String name) {
    for (JsonElement method : json.getAsJsonArray("ways")) {
      if (method.getAsJsonObject().get("way").getAsString().equals(name)) {
        return method.getAsJsonObject();
      }
    }
    throw new AssertionError(name);
  }

  private static JsonObject point(JsonObject method, long position) {
    for (JsonElement point : method.getAsJsonArray("points")) {
      if (point.getAsJsonObject().get("position").getAsLong() == position) {
        return point.getAsJsonObject();
      }
    }
    throw new AssertionError(position);
  }

  private static double table(JsonObject method, String dtype, String field) {
    return method.getAsJsonObject("tables").getAsJsonObject(dtype).get(field).getAsDouble();
  }

  /**
   * The number of integers below a limit that remain distinct with the given significant bits, in
   * integer arithmetic.
   */
  private static int distinct(int significantBits, long limit) {
    Set<Long> held = new HashSet<>();
    for (long position = 0; position < limit; position++) {
      int dropped = Math.max(0, 64 - Long.numberOfLeadingZeros(position) - significantBits);
      long kept = position >> dropped;
      long rest = position - (kept << dropped);
      long half = dropped == 0 ? 1 : 1L << (dropped - 1);
      boolean up = rest > half || rest == half && kept % 2 == 1;
      held.add((up ? kept + 1 : kept) << dropped);
    }
    return held.size();
  }

  @Test
  void floatingPointPositionsCollapse() {
    JsonObject json = audit("--max-position", 40_000);
    JsonObject bfloat16 = method(json, "bfloat16-arange");
    assertEquals(257, bfloat16.get("first_wrong_position").getAsLong());
    assertEquals(distinct(8, 40_000), bfloat16.get("distinct_positions").getAsLong());
    assertEquals(256, point(bfloat16, 257).get("becomes").getAsDouble());
    // Midway between neighbours with a distance of 64: the error of the first pair, of frequency 1,
    // is 32.
    assertEquals(32, point(bfloat16, 8192 + 32).get("radians").getAsDouble(), 1e-2);
    assertEquals(64, point(bfloat16, 16_384 + 64).get("radians").getAsDouble(), 1e-2);

    JsonObject float16 = method(json, "float16-arange");
    assertEquals(2049, float16.get("first_wrong_position").getAsLong());
    assertEquals(distinct(11, 40_000), float16.get("distinct_positions").getAsLong());
    assertTrue(float16.get("first_lost_position").isJsonNull());
    assertEquals(2048, point(float16, 2049).get("becomes").getAsDouble());

    for (String whole : List.of("float32-arange", "normcore-float32", "normcore-float64")) {
      assertEquals(40_000, method(json, whole).get("distinct_positions").getAsLong(), whole);
      assertTrue(method(json, whole).get("first_wrong_position").isJsonNull(), whole);
    }
  }

  /** N positions are 0 to N - 1: an error at position N does not count. */
  @Test
  void maxPositionCountsPositions() {
    for (int count : new int[] {2, 3, 256, 257, 258, 2049, 2050}) {
      JsonObject json = audit("--max-position", count, "--head-dim", 4);
      for (JsonElement element : json.getAsJsonArray("ways")) {
        JsonObject method = element.getAsJsonObject();
        long last = -1;
        for (JsonElement one : method.getAsJsonArray("points")) {
          long position = one.getAsJsonObject().get("position").getAsLong();
          last = position < 1 << 19 ? Math.max(last, position) : last;
        }
        assertEquals(count - 1, last, method.get("way").getAsString());
      }
      JsonElement wrong = method(json, "bfloat16-arange").get("first_wrong_position");
      assertEquals(count <= 257, wrong.isJsonNull(), "bfloat16, " + count);
      double radians = method(json, "bfloat16-arange").get("max_radians").getAsDouble();
      assertEquals(count <= 257, radians < 0.5, "bfloat16, " + count);
      wrong = method(json, "float16-arange").get("first_wrong_position");
      assertEquals(count <= 2049, wrong.isJsonNull(), "float16, " + count);
    }
    CommandRun run = CommandRun.of("audit", "--help");
    assertTrue(
        run.out().replaceAll("\\s+", " ").contains("the number of positions, from 0."), run.out());
  }

  @Test
  void float16HasNoPositionsBeyondItsLargestNumber() {
    JsonObject method = method(audit(), "float16-arange");
    assertEquals(65_520, method.get("first_lost_position").getAsLong());
    assertTrue(point(method, 131_071).get("becomes").isJsonNull());
    assertTrue(point(method, 131_071).get("radians").isJsonNull());
    assertTrue(point(method, 131_071).getAsJsonObject("bfloat16").get("max_abs").isJsonNull());
    // Among its positions the distance of neighbours in the last power of two is 32.
    assertEquals(16, method.get("max_radians").getAsDouble(), 1e-2);
  }

  @Test
  void tableErrorsMatchTheirType() {
    JsonObject json = audit("--max-position", 8192);
    JsonObject exact = method(json, "normcore-float64");
    // Half a step of numbers between 1/2 and 1: for bfloat16 the 2e-3 of the bug report.
    double[] halves = {0x1p-9, 0x1p-12, 0x1p-25};
    String[] dtypes = {"bfloat16", "float16", "float32"};
    for (int i = 0; i < dtypes.length; i++) {
      assertTrue(table(exact, dtypes[i], "max_abs") <= halves[i] * 1.0001, dtypes[i]);
      assertTrue(table(exact, dtypes[i], "max_abs") > halves[i] * 0.9, dtypes[i]);
      assertTrue(table(exact, dtypes[i], "max_ulp") <= 0.5001, dtypes[i]);
      // The error of the float32 order exceeds its last place and grows with the position.
      JsonObject plain = method(json, "normcore-float32");
      assertTrue(
          table(plain, dtypes[i], "max_ulp") > 2 * table(exact, dtypes[i], "max_ulp"), dtypes[i]);
    }
    assertTrue(exact.get("max_radians").getAsDouble() < 1e-11);
    double narrow = method(json, "normcore-float32").get("max_radians").getAsDouble();
    assertTrue(narrow > 1e-4 && narrow < 1e-3, Double.toString(narrow));
    assertTrue(table(method(json, "bfloat16-throughout"), "bfloat16", "max_abs") > 1);
  }

  @Test
  void lowPrecisionPositionsChangeScores() {
    JsonObject json = audit("--max-position", 32_768, "--dtype", "bfloat16");
    assertTrue(table(method(json, "bfloat16-arange"), "bfloat16", "max_score_error") > 0.9);
    assertTrue(table(method(json, "float16-arange"), "bfloat16", "max_score_error") > 0.9);
    assertTrue(table(method(json, "normcore-float64"), "bfloat16", "max_score_error") < 0.01);
    JsonObject wide = audit("--max-position", 32_768, "--dtype", "float32");
    assertTrue(table(method(wide, "normcore-float64"), "float32", "max_score_error") < 1e-6);
    double order = table(method(wide, "normcore-float32"), "float32", "max_score_error");
    assertTrue(order > 1e-5 && order < 1e-2, Double.toString(order));
  }

  @Test
  void integerPositionsAreAuditedToTheLargest() {
    JsonObject json = audit("--max-position", 1000);
    assertTrue(
        point(method(json, "normcore-float64"), 1L << 40).get("radians").getAsDouble() < 1e-3);
    // The error of a float32 position there is up to 2^15, midway between two of them.
    assertEquals(
        1 << 14,
        point(method(json, "normcore-float32"), (1L << 39) + (1 << 15))
            .get("radians")
            .getAsDouble(),
        1 << 15);
    for (JsonElement one : method(json, "bfloat16-arange").getAsJsonArray("points")) {
      assertTrue(one.getAsJsonObject().get("position").getAsLong() < 1000);
    }
  }

  @Test
  void configDefinesTheAudit() throws IOException {
    Path config = directory.resolve("config.json");
    Files.writeString(
        config,
        "{\"head_dim\": 64, \"max_position_embeddings\": 4096, \"rope_theta\": 500000.0,"
            + " \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\":"
            + " 1.0, \"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 2048}}");
    JsonObject json = audit("--config", config);
    assertEquals(4096, json.get("positions").getAsLong());
    assertEquals("llama3", json.getAsJsonObject("spec").get("scaling").getAsString());
    assertEquals(64, json.getAsJsonObject("spec").get("rotary_dim").getAsInt());
    assertEquals(config.toString(), json.get("config").getAsString());
    assertTrue(table(method(json, "normcore-float64"), "float32", "max_ulp") <= 0.5001);
    CommandRun.refused(
        "--head-dim can't be given with --config", arguments("--config", config, "--head-dim", 32));
    Files.writeString(config, "{\"head_dim\": 64, \"max_position_embeddings\": 1}");
    CommandRun.refused(
        "max_position_embeddings is 1, expected 2 to 33554432", arguments("--config", config));
  }

  @Test
  void onlyScoresDependOnTheSeed() {
    JsonObject one = audit("--max-position", 300, "--head-dim", 16);
    assertEquals(one, audit("--max-position", 300, "--head-dim", 16, "--threads", 1));
    JsonObject other = audit("--max-position", 300, "--head-dim", 16, "--seed", 7);
    JsonObject method = method(one, "bfloat16-arange");
    assertEquals(method.get("points"), method(other, "bfloat16-arange").get("points"));
    assertFalse(method.equals(method(other, "bfloat16-arange")));
  }

  @Test
  void reportPageContainsTheNumbers() throws IOException {
    String text =
        CommandRun.succeeding(arguments("--max-position", 9000, "--head-dim", 32, "--theta", 500))
            .out();
    assertTrue(text.contains("of 16 pairs, theta 500, plain, at 9000 positions;"), text);
    assertTrue(
        text.contains("From position 257 on, bfloat16-arange gives tokens the angles of"), text);
    String page = Files.readString(out().resolve("rotary.html"));
    JsonObject saved =
        JsonParser.parseString(Files.readString(out().resolve("rotary.json"))).getAsJsonObject();
    assertTrue(page.contains(new Gson().toJson(saved)), "data");
    assertFalse(page.contains("{{"), "placeholders");
    assertTrue(page.contains("data-dtype=\"bfloat16\""), "charts");
    assertTrue(page.contains("normcore audit --rotary --out "), "command");
    assertFalse(page.contains("http://") && page.contains("src=\"http"), "links");
  }

  @Test
  void wrongOptions() {
    CommandRun.refused("--max-position is 1, expected 2 to", arguments("--max-position", 1));
    CommandRun.refused("--max-position is 33554433", arguments("--max-position", 33_554_433));
    CommandRun.refused("--dtype is float64, expected float32", arguments("--dtype", "float64"));
    CommandRun.refused("--head-dim is 1, expected 2 to", arguments("--head-dim", 1));
    CommandRun.refused("--head-dim is 7, expected 2 to", arguments("--head-dim", 7));
    CommandRun.refused("--rotary-dim is 3, expected an even", arguments("--rotary-dim", 3));
    CommandRun.refused("--theta is 0.0, expected a positive", arguments("--theta", 0));
    CommandRun.refused(
        "--theta is 4.9E-324, expected a value for which the frequencies",
        arguments("--theta", 4.9e-324));
    CommandRun.refused("--model can't be given with --rotary", arguments("--model", directory));
    CommandRun.refused("--rows can't be given with --rotary", arguments("--rows", 3));
    CommandRun.refused("--hidden can't be given with --rotary", arguments("--hidden", 3));
    CommandRun.refused("--policies can't be given with", arguments("--policies", "t5"));
    CommandRun.refused("--activations can't be given", arguments("--activations", directory));
    CommandRun.refused("mutually exclusive", arguments("--fp8"));
    CommandRun.refused("need --rotary", "audit", "--theta", 500, "--out", out());
    CommandRun.refused("need --rotary", "audit", "--max-position", 500, "--out", out());
    CommandRun.refused("does not exist", arguments("--config", directory.resolve("nowhere.json")));
    assertFalse(Files.exists(out()));
  }
}
