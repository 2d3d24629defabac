package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import org.junit.jupiter.api.Test;
import org.normcore.Cuda;
import org.normcore.DType;
import org.normcore.ModelType;
import org.normcore.NormPolicy;

class InfoCommandTest {
  @Test
  void textNamesEveryPolicy() {
    String out = CommandRun.succeeding("info").out();
    for (NormPolicy policy : NormPolicy.presets().values()) {
      assertTrue(out.contains(OptionNames.of(policy)), out);
    }
  }

  @Test
  void jsonHoldsEverything() {
    JsonObject json = CommandRun.succeeding("info", "--json").json();
    assertEquals(DType.values().length, json.getAsJsonArray("dtypes").size());
    assertEquals(
        "[\"rms-norm\",\"layer-norm\",\"rotary\",\"fp8\"]", json.get("operations").toString());
    assertEquals("[\"tensor\",\"row\",\"block\"]", json.get("fp8_scalings").toString());
    assertEquals("[\"half-split\",\"interleaved\"]", json.get("rotary_layouts").toString());
    assertEquals(NormPolicy.presets().size(), json.getAsJsonArray("policies").size());
    assertEquals(ModelType.all().size(), json.getAsJsonArray("model_types").size());
    assertEquals("cpu", json.get("device").getAsString());
    assertEquals(Cuda.isAvailable(), json.getAsJsonObject("cuda").get("available").getAsBoolean());
    assertTrue(json.get("vector_level").getAsString().matches("plain|avx2|avx512|neon"));
  }
}
