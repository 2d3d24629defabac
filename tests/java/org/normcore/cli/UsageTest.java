package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import com.google.gson.JsonObject;
import org.junit.jupiter.api.Test;
import org.normcore.Cuda;

/** Invalid options of the commands, and their help. */
class UsageTest {
  @Test
  void missingCommandsAreNamed() {
    CommandRun.refused("A command is missing: audit, apply, bench or info");
    CommandRun.refused("An operation is missing: rms-norm, layer-norm, rotary or fp8", "apply");
  }

  @Test
  void nearCommandsAndOptionsAreSuggested() {
    CommandRun.refused("did you mean audit?", "audti");
    CommandRun.refused("did you mean --policies?", "audit", "--polices=t5");
  }

  @Test
  void unknownConstantsListTheKnownOnes() {
    CommandRun.refused(
        "\"llama\" is not one of transformer-engine, ", "audit", "--policies", "llama");
    CommandRun.refused("is not one of float64, float32, bfloat16", "bench", "--dtype", "int8");
    CommandRun.refused(
        "is not one of compute, input, weight",
        "apply",
        "rms-norm",
        "--in",
        "x",
        "--rounding",
        "up");
  }

  @Test
  void constantsMayBeWrittenAsInJava() {
    assertEquals(
        OptionNames.parsePolicy("HUGGING_FACE_LLAMA"),
        OptionNames.parsePolicy("hugging-face-llama"));
  }

  @Test
  void cudaDeviceIsRefusedWithTheReason() {
    assumeFalse(Cuda.isAvailable(), "CUDA is available");
    String reason = Cuda.unavailabilityCause().getMessage();
    CommandRun.refused(reason, "info", "--device", "cuda");
    CommandRun.refused(reason, "--device", "cuda:1", "audit");
    CommandRun.refused(reason, "bench", "--device", "cuda:0");
    CommandRun.refused(reason, "apply", "rms-norm", "--in", "x", "--out", "y", "--device", "cuda");
    assertTrue(CommandRun.succeeding("info").out().contains("cuda          no: " + reason));
    JsonObject cuda = CommandRun.succeeding("info", "--json").json().getAsJsonObject("cuda");
    assertEquals(reason, cuda.get("reason").getAsString());
    assertEquals(0, cuda.getAsJsonArray("devices").size());
  }

  @Test
  void devicesHaveNames() {
    CommandRun.refused("expected cpu, cuda or cuda:K", "info", "--device", "gpu");
    CommandRun.refused("expected cpu, cuda or cuda:K", "info", "--device", "cuda:-1");
  }

  @Test
  void threadsAreCounted() {
    CommandRun.refused("--threads is -1, expected 1 to 1024", "info", "--threads", "-1");
    CommandRun.refused("--threads is 0, expected 1 to 1024", "audit", "--threads", "0");
    CommandRun.refused("--threads is 1025, expected 1 to 1024", "bench", "--threads", "1025");
    CommandRun.refused("--threads", "info", "--threads", "two");
    assertEquals(
        3,
        CommandRun.succeeding("info", "--json", "--threads", 3).json().get("threads").getAsInt());
  }

  @Test
  void sentencesHaveOnePrefix() {
    CommandRun run =
        CommandRun.refused(
            "mutually exclusive",
            "apply",
            "rms-norm",
            "--in",
            "x",
            "--policy",
            "t5",
            "--model-type",
            "qwen3");
    assertTrue(run.err().startsWith("normcore: --policy=NAME"), run.err());
  }

  @Test
  void helpNamesTheOptions() {
    assertTrue(CommandRun.succeeding("--help").out().contains("audit"));
    assertTrue(
        CommandRun.succeeding("apply", "layer-norm", "--help").out().contains("--normalized-dims"));
    assertTrue(CommandRun.succeeding("audit", "--help").out().contains("--activations"));
    assertTrue(CommandRun.succeeding("bench", "--help").out().contains("--seconds"));
  }

  @Test
  void versionIsTheLibrarys() {
    assertTrue(CommandRun.succeeding("--version").out().matches("normcore \\d+\\.\\d+\\.\\d+\\R"));
  }
}
