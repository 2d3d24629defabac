package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.util.Arrays;
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

  @Test
  void textHasARowForEveryDirection() {
    String out = CommandRun.succeeding(SMALL).out();
    assertEquals(2, out.lines().filter(line -> line.contains("backward")).count(), out);
    assertTrue(out.contains("copy GB/s"), out);
  }

  @Test
  void jsonHoldsTimesAndBandwidths() {
    Object[] args = Arrays.copyOf(SMALL, SMALL.length + 1);
    args[SMALL.length] = "--json";
    JsonArray cases = CommandRun.succeeding(args).json().getAsJsonArray("cases");
    assertEquals(6, cases.size());
    for (JsonElement element : cases) {
      JsonObject one = element.getAsJsonObject();
      int tensors = one.get("direction").getAsString().equals("backward") ? 3 : 2;
      assertEquals(tensors * 16L * one.get("hidden").getAsLong() * 4, one.get("bytes").getAsLong());
      assertTrue(one.get("median_seconds").getAsDouble() > 0);
      assertTrue(one.get("one_row_seconds").getAsDouble() > 0);
      assertTrue(one.get("copy_bytes_per_second").getAsDouble() > 0);
    }
  }

  @Test
  void rotaryAndFp8AreMeasuredToo() {
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
      assertTrue(one.get("median_seconds").getAsDouble() > 0);
      assertTrue(one.get("one_row_seconds").getAsDouble() > 0);
    }
  }

  @Test
  void nonsenseIsRefused() {
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
