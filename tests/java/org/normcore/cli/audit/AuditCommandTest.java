package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.cli.CommandRun;
import org.normcore.cli.safetensors.SafetensorsWriter;

class AuditCommandTest {
  private static final Path MODEL = Path.of("tests/data/all-MiniLM-L6-v2-norms");
  private static final Path ACTIVATIONS = MODEL.resolve("activations.safetensors");

  @TempDir private Path directory;

  @Test
  void builtInCaseHasKnownDifferences() {
    JsonObject json = audit("--json");
    List<JsonObject> cases = cases(json, "cases");
    assertEquals(2, cases.size());
    JsonObject policies = cases.get(0);
    assertEquals(List.of("transformer-engine", "hugging-face-llama"), names(policies));
    assertEquals("rms-norm", policies.get("op").getAsString());
    assertEquals("bfloat16", policies.get("dtype").getAsString());
    assertEquals(4194304, policies.getAsJsonObject("y").get("elements").getAsLong());
    assertEquals(0.254, differing(policies, "y"), 0.005);
    assertEquals(0.26, differing(policies, "dx"), 0.03);
    assertEquals(0.51, differing(policies, "dweight"), 0.04);

    JsonObject plain = cases.get(1);
    assertEquals(List.of("hugging-face-llama", "plain-evaluation"), names(plain));
    assertEquals(0, differing(plain, "y"));
    assertTrue(differing(plain, "dx") < 2e-4, plain.toString());
    assertTrue(differing(plain, "dweight") < 5e-3, plain.toString());
  }

  @Test
  void jsonFileMatchesStandardOutput() throws IOException {
    JsonObject json = audit("--json", "--rows", "16", "--hidden", "64");
    JsonObject saved =
        JsonParser.parseString(Files.readString(out().resolve("audit.json"))).getAsJsonObject();
    assertEquals(saved.get("cases"), json.get("cases"));
    assertEquals(out().resolve("report.html").toString(), json.get("report").getAsString());
    for (JsonObject one : cases(json, "cases")) {
      for (String tensor : List.of("y", "dx", "dweight")) {
        JsonObject numbers = one.getAsJsonObject(tensor);
        assertTrue(
            numbers
                .keySet()
                .containsAll(
                    ImmutableSet.of(
                        "differing", "beyond_0_01", "max_abs", "max_ulp", "ulp_histogram")));
        long counted =
            StreamSupport.stream(numbers.getAsJsonArray("ulp_histogram").spliterator(), false)
                .mapToLong(bucket -> bucket.getAsJsonObject().get("count").getAsLong())
                .sum();
        assertEquals(numbers.get("elements").getAsLong(), counted);
      }
    }
  }

  @Test
  void resultsDependOnSeedNotThreads() {
    JsonElement one =
        audit("--json", "--rows", "33", "--hidden", "100", "--threads", "1").get("cases");
    assertEquals(
        one, audit("--json", "--rows", "33", "--hidden", "100", "--threads", "3").get("cases"));
    assertNotEquals(
        one, audit("--json", "--rows", "33", "--hidden", "100", "--seed", "1").get("cases"));
  }

  @Test
  void equivalentPoliciesDoNotDiffer() {
    JsonObject json =
        audit(
            "--json",
            "--rows",
            "64",
            "--hidden",
            "300",
            "--policies",
            "transformer-engine,pytorch");
    JsonObject only = cases(json, "cases").get(0);
    for (String tensor : List.of("y", "dx", "dweight")) {
      assertEquals(0, differing(only, tensor), tensor);
    }
    JsonObject wide = audit("--json", "--rows", "64", "--hidden", "300", "--dtype", "float32");
    assertEquals(0, differing(cases(wide, "cases").get(0), "y"));
    assertEquals(0, differing(cases(wide, "cases").get(0), "dx"));
  }

  @Test
  void realModelIsAuditedNormByNorm() {
    JsonObject json = audit("--json", "--model", MODEL, "--activations", ACTIVATIONS);
    JsonObject model = json.getAsJsonObject("model");
    assertEquals("bert", model.get("model_type").getAsString());
    assertEquals("pytorch", model.get("policy").getAsString());
    assertEquals(1e-12, model.get("epsilon").getAsDouble());
    assertEquals(13, model.get("norms").getAsInt());

    List<JsonObject> cases = cases(json, "cases");
    assertEquals(13 * 2 * 2, cases.size());
    for (JsonObject one : cases) {
      assertEquals("layer-norm", one.get("op").getAsString());
      assertEquals("recorded", one.get("hidden_states").getAsString());
      boolean rounded = one.get("dtype").getAsString().equals("bfloat16");
      boolean check = names(one).get(1).equals("plain-evaluation");
      if (rounded && !check) {
        assertEquals(0.365, differing(one, "y"), 0.03);
      } else {
        assertEquals(0, differing(one, "y"));
      }
    }
  }

  @Test
  void recordedOutputsAreComparedWithExactValues() {
    JsonObject json =
        audit("--json", "--model", MODEL, "--activations", ACTIVATIONS, "--policies", "pytorch");
    List<JsonObject> recorded = cases(json, "recorded");
    assertEquals(13, recorded.size());
    double largest = 0;
    double largestRecorded = 0;
    for (JsonObject one : recorded) {
      assertEquals("pytorch", one.get("policy").getAsString());
      assertEquals("float32", one.get("dtype").getAsString());
      largestRecorded = Math.max(largestRecorded, error(one, "recorded", "max_error"));
      largest = Math.max(largest, error(one, "normcore", "max_error"));
      // Float32 arithmetic rounds four times; which side has the larger maximum in one norm is
      // chance, so the test compares the root mean square of each norm.
      double theirs = error(one, "recorded", "rms_error");
      assertTrue(error(one, "normcore", "rms_error") < 1.25 * theirs, one.toString());
      assertTrue(error(one, "normcore_float64", "rms_error") < 0.5 * theirs, one.toString());
    }
    assertTrue(largest < largestRecorded, largest + " against " + largestRecorded);
  }

  @Test
  void hiddenStatesAreRandomWithoutActivations() {
    JsonObject json = audit("--json", "--model", MODEL, "--rows", "8", "--dtype", "bfloat16");
    for (JsonObject one : cases(json, "cases")) {
      assertEquals("drawn", one.get("hidden_states").getAsString());
      assertEquals(8, one.get("rows").getAsLong());
    }
  }

  @Test
  void unknownFamiliesAreReported() throws IOException {
    model(
        "{\"model_type\":\"nothing-of-the-kind\",\"rms_norm_eps\":1e-6,\"torch_dtype\":\"bfloat16\"}");
    JsonObject json = audit("--json", "--model", directory, "--rows", "4");
    assertFalse(json.getAsJsonObject("model").get("known").getAsBoolean());
    assertEquals(1e-6, json.getAsJsonObject("model").get("epsilon").getAsDouble());
    assertEquals("rms-norm", json.getAsJsonObject("model").get("op").getAsString());
    assertEquals("bfloat16", json.getAsJsonArray("dtypes").get(0).getAsString());
  }

  @Test
  void zeroCentredWeightsKeepTheirOffset() throws IOException {
    model("{\"model_type\":\"gemma2\",\"dtype\":\"bfloat16\"}");
    JsonObject only = cases(audit("--json", "--model", directory, "--rows", "64"), "cases").get(0);
    assertEquals(List.of("gemma", "input+one-in-compute"), names(only));
    assertTrue(only.getAsJsonObject("y").get("max_ulp").getAsLong() < 4, only.toString());
  }

  @Test
  void textEndsWithTheConclusionAndTheReport() throws IOException {
    CommandRun run =
        CommandRun.succeeding(
            "audit", "--rows", "16", "--hidden", "64", "--seed", "7", "--out", out());
    assertTrue(run.out().contains("seed 7"), run.out());
    assertTrue(
        run.out().contains("transformer-engine and hugging-face-llama differ in"), run.out());
    assertTrue(run.out().stripTrailing().endsWith("report.html"), run.out());
    String html = Files.readString(out().resolve("report.html"));
    assertTrue(html.contains("depend on where the norm rounds"), "headline");
    String markup = html.replaceAll("(?s)(<script[^>]*>).*?</script>", "$1");
    assertFalse(markup.matches("(?s).*<[^>]*(src|href)=.*"), "the report needs other files");
    assertFalse(markup.matches("(?s).*(@import|url\\().*"), "the style needs other files");
    assertFalse(markup.contains("{{"), "the template is not filled in");
  }

  @Test
  void modelNamesAreEscapedInTheReport() throws IOException {
    Files.writeString(
        directory.resolve("config.json"), "{\"model_type\":\"llama\",\"dtype\":\"bfloat16\"}");
    SafetensorsWriter.write(
        directory.resolve("model.safetensors"),
        ImmutableMap.of(
            "</script><script>alert(1)</script>.norm.weight",
            new Arena().of(new float[64], DType.BFLOAT16, 64)));
    audit("--json", "--model", directory, "--rows", "2");
    assertFalse(Files.readString(out().resolve("report.html")).contains("<script>alert"));
  }

  @Test
  void wrongOptionsAreRefused() {
    refused("--activations needs --model", "--activations", ACTIVATIONS);
    refused(
        "--rows can't be given with --activations",
        "--model",
        MODEL,
        "--activations",
        ACTIVATIONS,
        "--rows",
        4);
    refused("--hidden can't be given with --model", "--model", MODEL, "--hidden", 4);
    refused("--rows is 0, expected at least 1", "--rows", 0);
    refused("--rows is 9999999999, expected at most", "--rows", 9999999999L);
    refused("--rows is 2147483647, expected at most", "--rows", Integer.MAX_VALUE, "--hidden", 1);
    refused("--hidden is -1, expected 1 to 1048576", "--hidden", -1);
    refused("--hidden is 1048577, expected 1 to 1048576", "--hidden", 1_048_577, "--rows", 1);
    refused("expected float64, float32, bfloat16 or float16", "--dtype", "float8-e5m2");
    refused("does not exist, expected a directory", "--model", directory.resolve("nowhere"));
    assertFalse(Files.exists(out()));
  }

  @Test
  void unwritableReportPathsAreRefused() throws IOException {
    Path file = Files.writeString(directory.resolve("file"), "");
    CommandRun.refused("is a file, expected a directory", "audit", "--out", file);
    CommandRun.refused(
        "is a file, expected a directory", "audit", "--out", file.resolve("deep/down"));
    Files.createDirectories(out().resolve("audit.json"));
    refused("audit.json: can't be written: it is a directory", "--rows", 1, "--hidden", 1);
    assertFalse(Files.exists(out().resolve("report.html")));
  }

  @Test
  void refusedModelsAreClosed() throws IOException {
    model("{\"model_type\":\"llama\"}");
    refused("holds no hidden states", "--model", directory, "--activations", ACTIVATIONS);
    Path descriptors = Path.of("/proc/self/fd");
    assumeTrue(Files.isDirectory(descriptors));
    try (DirectoryStream<Path> open = Files.newDirectoryStream(descriptors)) {
      for (Path descriptor : open) {
        Path file = Files.readSymbolicLink(descriptor);
        assertFalse(file.startsWith(directory.toRealPath()), file.toString());
        assertFalse(file.endsWith(ACTIVATIONS), file.toString());
      }
    }
  }

  @Test
  void wrongModelsAreRefused() throws IOException {
    refused("has no config.json", "--model", directory);
    Path config = directory.resolve("config.json");
    Files.writeString(config, "{\"model_type\":");
    refused("is not valid JSON", "--model", directory);
    Files.writeString(config, "{\"model_type\":\"llama\"}");
    refused("holds no *.safetensors file", "--model", directory);
    SafetensorsWriter.write(
        directory.resolve("model.safetensors"),
        ImmutableMap.of("lm_head.weight", new Arena().empty(DType.FLOAT32, 4, 4)));
    refused("has no norm weights", "--model", directory);
    model("{\"model_type\":\"llama\",\"rms_norm_eps\":-1}");
    refused("has the rms_norm_eps -1, expected", "--model", directory);
    model("{\"model_type\":\"llama\"}");
    refused("holds no hidden states", "--model", directory, "--activations", ACTIVATIONS);
    Path activations = directory.resolve("activations.bin");
    SafetensorsWriter.write(
        activations, ImmutableMap.of("model.norm.x", new Arena().empty(DType.FLOAT32, 2, 63)));
    refused(
        "expected a tensor of shape [*, 64], got [2, 63]",
        "--model",
        directory,
        "--activations",
        activations);
    Files.write(activations, new byte[4]);
    refused("too short for a safetensors file", "--model", directory, "--activations", activations);
    assertFalse(Files.exists(out()));
  }

  private void model(String config) throws IOException {
    Files.writeString(directory.resolve("config.json"), config);
    float[] weight = new Gaussian(3).draw("weight", 64);
    SafetensorsWriter.write(
        directory.resolve("model.safetensors"),
        ImmutableMap.of("model.norm.weight", new Arena().of(weight, DType.BFLOAT16, 64)));
  }

  private Path out() {
    return directory.resolve("report");
  }

  private JsonObject audit(Object... options) {
    return CommandRun.succeeding(withOut(options)).json();
  }

  private void refused(String text, Object... options) {
    CommandRun.refused(text, withOut(options));
  }

  private Object[] withOut(Object... options) {
    Object[] args = new Object[3 + options.length];
    args[0] = "audit";
    args[1] = "--out";
    args[2] = out();
    System.arraycopy(options, 0, args, 3, options.length);
    return args;
  }

  private static List<JsonObject> cases(JsonObject json, String name) {
    return StreamSupport.stream(json.getAsJsonArray(name).spliterator(), false)
        .map(JsonElement::getAsJsonObject)
        .toList();
  }

  private static List<String> names(JsonObject one) {
    return StreamSupport.stream(one.getAsJsonArray("policies").spliterator(), false)
        .map(JsonElement::getAsString)
        .toList();
  }

  private static double differing(JsonObject one, String tensor) {
    return one.getAsJsonObject(tensor).get("differing").getAsDouble();
  }

  private static double error(JsonObject one, String whose, String measure) {
    return one.getAsJsonObject(whose).get(measure).getAsDouble();
  }
}
