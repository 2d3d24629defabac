package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class BenchCommandTest {
  private static final Object[] SMALL = {
    "bench",
    "--rows",
    "16",
    "--hidden",
    "64,100",
    "--dtype",
    "float32",
    "--op",
    "rms-norm",
    "--seconds",
    "0.001"
  };

  private static Object[] small(Object... more) {
    Object[] args = Arrays.copyOf(SMALL, SMALL.length + more.length);
    System.arraycopy(more, 0, args, SMALL.length, more.length);
    return args;
  }

  private static long count(String text, String part) {
    return text.lines().filter(line -> line.contains(part)).count();
  }

  /**
   * Throughput, throughput with one thread, and the parts of the time: one row each per direction.
   */
  @Test
  void textHasARowForEveryDirection() {
    String out = CommandRun.succeeding(small("--threads", 2)).out();
    assertEquals(6, count(out, "backward"), out);
    for (String head : List.of("copy GB/s", "stream GB/s", "of stream", "speed-up", "dispatch")) {
      assertTrue(out.contains(head), head + " in " + out);
    }
    String alone = CommandRun.succeeding(small("--threads", 1)).out();
    assertEquals(4, count(alone, "backward"), alone);
    assertFalse(alone.contains("speed-up"), alone);
  }

  @Test
  void jsonHoldsTimesAndBandwidths() {
    for (int threads : new int[] {1, 2}) {
      JsonObject document = CommandRun.succeeding(small("--json", "--threads", threads)).json();
      assertEquals(threads > 1, document.get("dispatch_seconds").getAsDouble() > 0);
      JsonArray cases = document.getAsJsonArray("cases");
      assertEquals(6, cases.size());
      for (JsonElement element : cases) {
        JsonObject one = element.getAsJsonObject();
        int tensors = one.get("direction").getAsString().equals("backward") ? 3 : 2;
        long bytes = tensors * 16L * one.get("hidden").getAsLong() * 4;
        assertEquals(bytes, one.get("bytes").getAsLong());
        assertTrue(one.get("one_row_seconds").getAsDouble() > 0);
        assertOrdered(one.getAsJsonArray("one_row_quartile_seconds"));
        assertThroughput(one, bytes, threads);
        assertEquals(threads > 1, one.has("one_thread"));
        if (threads > 1) {
          JsonObject alone = one.getAsJsonObject("one_thread");
          assertThroughput(alone, bytes, 1);
          assertRatio(alone, one, "median_seconds", one.get("speedup"));
          assertRatio(one, alone, "copy_bytes_per_second", one.get("copy_speedup"));
        }
        double sum = 0;
        for (String part : List.of("call", "dispatch", "compute", "memory")) {
          double time = one.getAsJsonObject("time").get(part + "_seconds").getAsDouble();
          assertTrue(time >= 0, part);
          sum += time;
        }
        double whole = one.get("median_seconds").getAsDouble();
        assertEquals(whole, sum, whole * 1e-9);
      }
    }
  }

  private static void assertThroughput(JsonObject one, long bytes, int threads) {
    assertEquals(threads, one.get("threads").getAsInt());
    double seconds = one.get("median_seconds").getAsDouble();
    assertTrue(seconds > 0);
    JsonArray quartiles = one.getAsJsonArray("quartile_seconds");
    assertOrdered(quartiles);
    assertTrue(
        quartiles.get(0).getAsDouble() <= seconds && seconds <= quartiles.get(1).getAsDouble());
    double speed = bytes / seconds;
    assertEquals(speed, one.get("bytes_per_second").getAsDouble(), speed * 1e-9);
    for (String copy : List.of("copy", "streaming_copy")) {
      double share = speed / one.get(copy + "_bytes_per_second").getAsDouble();
      assertEquals(share, one.get("share_of_" + copy).getAsDouble(), share * 1e-9);
      assertOrdered(one.getAsJsonArray("share_of_" + copy + "_quartiles"));
    }
  }

  private static void assertOrdered(JsonArray quartiles) {
    assertEquals(2, quartiles.size());
    assertTrue(quartiles.get(0).getAsDouble() > 0);
    assertTrue(quartiles.get(0).getAsDouble() <= quartiles.get(1).getAsDouble());
  }

  private static void assertRatio(JsonObject a, JsonObject b, String key, JsonElement ratio) {
    double expected = a.get(key).getAsDouble() / b.get(key).getAsDouble();
    assertEquals(expected, ratio.getAsDouble(), expected * 1e-9);
  }

  @Test
  void measuresRotaryAndFp8() {
    JsonArray cases =
        CommandRun.succeeding(
                "bench",
                "--op",
                "rotary,fp8",
                "--rows",
                8,
                "--hidden",
                "256,34",
                "--dtype",
                "bfloat16,float32",
                "--seconds",
                "0.001",
                "--threads",
                2,
                "--json")
            .json()
            .getAsJsonArray("cases");
    assertEquals(2 * 2 * 2 * 2, cases.size());
    for (JsonElement element : cases) {
      JsonObject one = element.getAsJsonObject();
      int width = one.get("dtype").getAsString().equals("bfloat16") ? 2 : 4;
      boolean rotary = one.get("op").getAsString().equals("rotary");
      assertTrue(
          (rotary ? "forward, backward" : "quantize, dequantize")
              .contains(one.get("direction").getAsString()),
          one.toString());
      assertEquals(
          8 * one.get("hidden").getAsLong() * (rotary ? 2 * width : width + 1),
          one.get("bytes").getAsLong());
      assertTrue(one.get("one_row_seconds").getAsDouble() > 0);
      assertThroughput(one, one.get("bytes").getAsLong(), rotary ? 2 : 1);
      assertEquals(rotary, one.has("one_thread"), "fp8 has one thread only");
    }
  }

  @Test
  void invalidOptionsAreRefused() {
    CommandRun.refused(
        "--dtype is float64, expected float32, bfloat16 or float16 for rotary and fp8",
        "bench",
        "--op",
        "rms-norm,fp8",
        "--dtype",
        "float64");
    CommandRun.refused(
        "--hidden is 33, expected for rotary a multiple of 128, or an even number up to 65536",
        "bench",
        "--op",
        "rotary",
        "--hidden",
        "33");
    CommandRun.refused("is not one of rms-norm, layer-norm, rotary, fp8", "bench", "--op", "x");
    CommandRun.refused("--rows is 0, expected 1", "bench", "--rows", "0");
    CommandRun.refused("--hidden is 0, expected 1", "bench", "--hidden", "0");
    CommandRun.refused("--seconds is NaN", "bench", "--seconds", "NaN");
    CommandRun.refused(
        "expected float64, float32, bfloat16 or float16", "bench", "--dtype", "float8-e4m3");
  }
}
