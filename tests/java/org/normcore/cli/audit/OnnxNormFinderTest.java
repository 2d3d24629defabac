package org.normcore.cli.audit;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.normcore.testing.OnnxModels.attribute;
import static org.normcore.testing.OnnxModels.list;
import static org.normcore.testing.OnnxModels.node;
import static org.normcore.testing.OnnxModels.vector;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.normcore.NormKind;
import org.normcore.cli.onnx.OnnxFile;
import org.normcore.testing.OnnxModels;
import org.normcore.testing.Protobuf;

class OnnxNormFinderTest {
  private static final Protobuf WEIGHT = vector("a.norm.weight", 1, 2);
  private static final Protobuf BIAS = vector("a.norm.bias", 3, 4);
  private static final Protobuf EPSILON = OnnxModels.floats("epsilon", new float[] {1e-6f});
  private static final Protobuf TWO = OnnxModels.floats("two", new float[] {2});
  private static final Protobuf ONE = OnnxModels.floats("one", new float[] {1});

  @TempDir private Path directory;

  @ParameterizedTest
  @CsvSource({
    "LayerNormalization, LAYER_NORM, 1, 2, 1e-5",
    "SimplifiedLayerNormalization, RMS_NORM, 1, -1, 1e-5",
    "RMSNormalization, RMS_NORM, 1, -1, 1e-5",
    "SkipLayerNormalization, LAYER_NORM, 2, 3, 1e-12",
    "SkipSimplifiedLayerNormalization, RMS_NORM, 2, -1, 1e-12",
    "EmbedLayerNormalization, LAYER_NORM, 5, 6, 1e-12",
  })
  void operatorsAreFound(String op, NormKind kind, int weight, int bias, double epsilon)
      throws IOException {
    String[] inputs = {"x", "x", "x", "x", "x", "x", "x"};
    inputs[weight] = "a.norm.weight";
    if (bias >= 0) {
      inputs[bias] = "a.norm.bias";
    }
    ModelNorm norm = only(new Protobuf().message(1, node(op, "y", inputs)));
    assertEquals(kind, norm.kind());
    assertEquals(epsilon, norm.epsilon());
    assertEquals("a.norm", norm.module().name());
    assertEquals("a.norm.weight", norm.module().weight());
    assertEquals(bias < 0 ? Optional.empty() : Optional.of("a.norm.bias"), norm.module().bias());
    assertEquals(2, norm.module().hiddenSize());
    assertEquals(Optional.of(op), norm.operator());

    ModelNorm other =
        only(
            new Protobuf()
                .message(1, node(op, "y", inputs).message(5, attribute("epsilon", 1e-6f))));
    assertEquals(1e-6, other.epsilon());
  }

  @Test
  void composedLayerNormsAreFound() throws IOException {
    for (int operatorSet : new int[] {17, 18}) {
      Protobuf graph =
          new Protobuf()
              .message(1, mean(operatorSet, "mean", "x"))
              .message(1, node("Sub", "d", "x", "mean"))
              .message(1, node("Pow", "square", "d", "two"))
              .message(1, mean(operatorSet, "var", "square"))
              .message(1, node("Add", "sum", "var", "epsilon"))
              .message(1, node("Sqrt", "s", "sum"))
              .message(1, node("Div", "n", "d", "s"))
              .message(1, node("Mul", "t", "n", "a.norm.weight"))
              .message(1, node("Add", "y", "t", "a.norm.bias"));
      ModelNorm norm = only(graph);
      assertEquals(NormKind.LAYER_NORM, norm.kind());
      assertEquals(1e-6, norm.epsilon());
      assertEquals(Optional.of("a.norm.bias"), norm.module().bias());
      assertEquals(Optional.empty(), norm.operator());
    }
  }

  @Test
  void repeatedDifferencesAndConversionsMatch() throws IOException {
    Protobuf graph =
        new Protobuf()
            .message(1, mean(17, "mean", "x"))
            .message(1, node("Sub", "d", "x", "mean"))
            .message(1, node("Sub", "again", "x", "mean"))
            .message(1, node("Cast", "wide", "d"))
            .message(1, node("Mul", "square", "wide", "wide"))
            .message(1, mean(17, "var", "square"))
            .message(1, node("Add", "sum", "epsilon", "var"))
            .message(1, node("Sqrt", "s", "sum"))
            .message(1, node("Div", "n", "again", "s"))
            .message(1, node("Cast", "narrow", "n"))
            .message(1, node("Identity", "w", "a.norm.weight"))
            .message(1, node("Mul", "t", "w", "narrow"))
            .message(1, node("Add", "y", "a.norm.bias", "t"));
    ModelNorm norm = only(graph);
    assertEquals(NormKind.LAYER_NORM, norm.kind());
    assertEquals("a.norm.weight", norm.module().weight());
    assertEquals(Optional.of("a.norm.bias"), norm.module().bias());
  }

  @Test
  void composedRmsNormsAreFound() throws IOException {
    for (Protobuf inverse : List.of(node("Reciprocal", "r", "s"), node("Div", "r", "one", "s"))) {
      Protobuf graph =
          new Protobuf()
              .message(1, node("Pow", "square", "x", "two"))
              .message(1, mean(17, "ms", "square"))
              .message(1, node("Add", "sum", "ms", "epsilon"))
              .message(1, node("Sqrt", "s", "sum"))
              .message(1, inverse)
              .message(1, node("Mul", "n", "x", "r"))
              .message(1, node("Mul", "y", "a.norm.weight", "n"));
      ModelNorm norm = only(graph);
      assertEquals(NormKind.RMS_NORM, norm.kind());
      assertEquals(Optional.empty(), norm.module().bias());
    }
  }

  @Test
  void constantsNeedNoTensor() throws IOException {
    Protobuf graph =
        new Protobuf()
            .message(1, node("Constant", "e").message(5, attribute("value_float", 1e-3f)))
            .message(1, node("Constant", "a").message(5, list("value_ints", -1)))
            .message(1, node("Mul", "square", "x", "x"))
            .message(1, node("ReduceMean", "ms", "square", "a"))
            .message(1, node("Add", "sum", "ms", "e"))
            .message(1, node("Sqrt", "s", "sum"))
            .message(1, node("Div", "n", "x", "s"))
            .message(1, node("Mul", "y", "n", "a.norm.weight"));
    assertEquals(1e-3, only(graph).epsilon());
  }

  @Test
  void otherPatternsAreIgnored() throws IOException {
    Protobuf other =
        new Protobuf()
            .message(1, node("Sqrt", "s", "x"))
            .message(1, node("Add", "sum", "x", "epsilon"))
            .message(1, node("Sqrt", "s2", "sum"))
            .message(1, node("Mul", "y", "s2", "a.norm.weight"))
            .message(1, node("LayerNormalization", "l", "x", "not-a-constant"))
            .message(1, node("LayerNormalization", "m", "x", "a.norm.weight").text(7, "elsewhere"));
    assertEquals(List.of(), find(other));
    // The third power does not match either.
    Protobuf cubed =
        new Protobuf()
            .message(1, node("Pow", "square", "x", "three"))
            .message(1, mean(17, "ms", "square"))
            .message(1, node("Add", "sum", "ms", "epsilon"))
            .message(1, node("Sqrt", "s", "sum"))
            .message(1, node("Div", "n", "x", "s"))
            .message(1, node("Mul", "y", "n", "a.norm.weight"))
            .message(5, OnnxModels.floats("three", new float[] {3}));
    assertEquals(List.of(), find(cubed));
  }

  @Test
  void cyclesTerminate() throws IOException {
    Protobuf circle =
        new Protobuf()
            .message(1, node("Cast", "a", "b"))
            .message(1, node("Cast", "b", "a"))
            .message(1, node("Sqrt", "s", "a"))
            .message(1, node("LayerNormalization", "y", "x", "b"));
    assertEquals(List.of(), find(circle));
  }

  @Test
  void namedAfterWeightOrNode() throws IOException {
    Protobuf graph =
        new Protobuf()
            .message(1, node("LayerNormalization", "y", "x", "onnx::Mul_7").text(3, "/top/norm"))
            .message(1, node("RMSNormalization", "z", "y", "onnx::Mul_8"))
            .message(1, node("RMSNormalization", "again", "z", "onnx::Mul_8"))
            .message(5, vector("onnx::Mul_7", 1, 2))
            .message(5, vector("onnx::Mul_8", 1, 2));
    assertEquals(
        List.of("/top/norm", "onnx::Mul_8"),
        find(graph).stream().map(norm -> norm.module().name()).toList());
  }

  private static Protobuf mean(int operatorSet, String output, String input) {
    return operatorSet < 18
        ? node("ReduceMean", output, input).message(5, list("axes", -1))
        : node("ReduceMean", output, input, "axes");
  }

  private ModelNorm only(Protobuf graph) throws IOException {
    List<ModelNorm> norms = find(graph);
    assertEquals(1, norms.size(), norms.toString());
    return norms.get(0);
  }

  private List<ModelNorm> find(Protobuf graph) throws IOException {
    Protobuf axes = OnnxModels.tensor("axes", OnnxModels.INT64, 1).number(7, -1);
    for (Protobuf constant : List.of(WEIGHT, BIAS, EPSILON, TWO, ONE, axes)) {
      graph.message(5, constant);
    }
    Path path = Files.write(directory.resolve("model.onnx"), OnnxModels.model(graph));
    try (OnnxFile file = OnnxFile.open(path)) {
      return OnnxNormFinder.find(file);
    }
  }
}
