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
  void nonsenseIsRefused() {
    CommandRun.refused("--rows is 0, expected 1", "bench", "--rows", "0");
    CommandRun.refused("--hidden is 0, expected 1", "bench", "--hidden", "0");
    CommandRun.refused("--seconds is NaN", "bench", "--seconds", "NaN");
    CommandRun.refused(
        "expected float64, float32, bfloat16 or float16", "bench", "--dtype", "float8-e4m3");
  }
}
