package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.NativeBuffer;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.VarianceAlgorithm;
import org.normcore.cli.safetensors.SafetensorsFile;
import org.normcore.cli.safetensors.SafetensorsWriter;

class ApplyCommandTest {
  private static final long HIDDEN = 37;

  @TempDir private Path directory;

  @Test
  void rmsNormEqualsTheApi() throws IOException {
    Map<String, TensorView> in = inputs(DType.BFLOAT16, DType.BFLOAT16, "x", "weight", "dy");
    CommandRun.succeeding(
        "apply",
        "rms-norm",
        "--in",
        write(in),
        "--out",
        out(),
        "--policy",
        "hugging-face-llama",
        "--epsilon",
        "1e-6");

    TensorView y = empty(DType.BFLOAT16, 2, 3, HIDDEN);
    TensorView dx = empty(DType.BFLOAT16, 2, 3, HIDDEN);
    TensorView dweight = empty(DType.BFLOAT16, HIDDEN);
    try (RmsNorm norm =
            RmsNorm.builder(HIDDEN)
                .epsilon(1e-6)
                .input(DType.BFLOAT16)
                .policy(NormPolicy.HUGGING_FACE_LLAMA)
                .build();
        Saved saved = norm.forward(in.get("x"), in.get("weight"), y)) {
      norm.backward(saved, in.get("dy"), Gradients.of(dx).weight(dweight, GradientMode.WRITE));
      assertOutput(
          ImmutableMap.of(
              "y", y, "rstd", saved.rstd().reshape(2, 3), "dx", dx, "dweight", dweight));
    }
  }

  @Test
  void layerNormWithEverythingEqualsTheApi() throws IOException {
    Map<String, TensorView> in =
        inputs(DType.BFLOAT16, DType.FLOAT32, "x", "weight", "bias", "residual", "dy", "dresidual");
    in.put("dy", tensor(new Random(5), DType.FLOAT32, 2, 3, HIDDEN));
    CommandRun.succeeding(
        "apply",
        "layer-norm",
        "--in",
        write(in),
        "--out",
        out(),
        "--policy",
        "deberta",
        "--variance",
        "welford");

    NormPolicy policy = NormPolicy.DEBERTA.toBuilder().variance(VarianceAlgorithm.WELFORD).build();
    TensorView y = empty(DType.FLOAT32, 2, 3, HIDDEN);
    TensorView residualOut = empty(DType.BFLOAT16, 2, 3, HIDDEN);
    TensorView dx = empty(DType.BFLOAT16, 2, 3, HIDDEN);
    TensorView dweight = empty(DType.FLOAT32, HIDDEN);
    TensorView dbias = empty(DType.FLOAT32, HIDDEN);
    try (LayerNorm norm =
            LayerNorm.builder(HIDDEN)
                .input(DType.BFLOAT16)
                .weight(DType.FLOAT32)
                .policy(policy)
                .build();
        Saved saved =
            norm.forward(
                Operands.of(in.get("x"), y)
                    .weight(in.get("weight"))
                    .bias(in.get("bias"))
                    .residual(in.get("residual"), residualOut))) {
      norm.backward(
          saved,
          in.get("dy"),
          Gradients.of(dx)
              .weight(dweight, GradientMode.WRITE)
              .bias(dbias, GradientMode.WRITE)
              .residual(in.get("dresidual")));
      Map<String, TensorView> expected = new LinkedHashMap<>();
      expected.put("y", y);
      expected.put("rstd", saved.rstd().reshape(2, 3));
      expected.put("mean", saved.mean().reshape(2, 3));
      expected.put("residual_out", residualOut);
      expected.put("dx", dx);
      expected.put("dweight", dweight);
      expected.put("dbias", dbias);
      assertOutput(expected);
    }
  }

  @Test
  void severalDimensionsAreNormalisedTogether() throws IOException {
    Random random = new Random(3);
    Map<String, TensorView> in = new LinkedHashMap<>();
    in.put("x", tensor(random, DType.FLOAT32, 4, 3, 5));
    CommandRun.succeeding(
        "apply",
        "layer-norm",
        "--in",
        write(in),
        "--out",
        out(),
        "--policy",
        "pytorch",
        "--normalized-dims",
        2);
    TensorView y = empty(DType.FLOAT32, 4, 3, 5);
    try (LayerNorm norm =
            LayerNorm.builder(3, 5)
                .input(DType.FLOAT32)
                .affine(Affine.NONE)
                .policy(NormPolicy.PYTORCH)
                .build();
        Saved saved = norm.forward(in.get("x"), null, null, y)) {
      assertOutput(ImmutableMap.of("y", y, "rstd", saved.rstd(), "mean", saved.mean()));
    }
  }

  @Test
  void dtypesCanBeChosen() throws IOException {
    Map<String, TensorView> in = inputs(DType.BFLOAT16, DType.BFLOAT16, "x", "weight");
    in.put("dy", tensor(new Random(5), DType.FLOAT16, 2, 3, HIDDEN));
    JsonObject json =
        CommandRun.succeeding(
                "apply",
                "rms-norm",
                "--in",
                write(in),
                "--out",
                out(),
                "--json",
                "--output-dtype",
                "float16",
                "--grad-dtype",
                "float32",
                "--compute",
                "float64")
            .json();
    JsonObject tensors = json.getAsJsonObject("tensors");
    assertEquals("float16", tensors.getAsJsonObject("y").get("dtype").getAsString());
    assertEquals("float64", tensors.getAsJsonObject("rstd").get("dtype").getAsString());
    assertEquals("float32", tensors.getAsJsonObject("dweight").get("dtype").getAsString());
    assertEquals("float64", json.getAsJsonObject("policy").get("compute").getAsString());
  }

  @Test
  void modelTypesChooseThePolicy() throws IOException {
    Path in = write(inputs(DType.FLOAT32, DType.FLOAT32, "x", "weight"));
    JsonObject json =
        CommandRun.succeeding(
                "apply", "rms-norm", "--in", in, "--out", out(), "--json", "--model-type", "qwen3")
            .json();
    assertEquals("hugging-face-llama", json.getAsJsonObject("policy").get("name").getAsString());
    CommandRun.refused("bert has layer-norm, not rms-norm", apply(in, "--model-type", "bert"));
    CommandRun.refused("the nearest known are qwen3", apply(in, "--model-type", "qwen33"));
    CommandRun.refused(
        "mutually exclusive", apply(in, "--model-type", "qwen3", "--policy", "gemma"));
  }

  @Test
  void expectedTensorsAreCompared() throws IOException {
    Path in = write(inputs(DType.BFLOAT16, DType.BFLOAT16, "x", "weight", "dy"));
    CommandRun.succeeding("apply", "rms-norm", "--in", in, "--out", out());
    JsonObject same =
        CommandRun.succeeding(
                "apply", "rms-norm", "--in", in, "--expect", out(), "--max-ulp", 0, "--json")
            .json();
    assertFalse(same.getAsJsonObject("expect").get("exceeded").getAsBoolean());
    assertEquals(4, same.getAsJsonObject("expect").getAsJsonObject("tensors").size());

    CommandRun other =
        CommandRun.of(
            "apply",
            "rms-norm",
            "--in",
            in,
            "--expect",
            out(),
            "--max-ulp",
            0,
            "--json",
            "--rounding",
            "input");
    assertEquals(1, other.status());
    JsonObject y =
        other.json().getAsJsonObject("expect").getAsJsonObject("tensors").getAsJsonObject("y");
    assertTrue(y.get("differing").getAsDouble() > 0.05, y.toString());
    assertEquals(1, y.get("max_ulp").getAsLong());
    JsonObject first = y.getAsJsonObject("first_difference");
    long[] at =
        first.getAsJsonArray("indices").asList().stream()
            .mapToLong(JsonElement::getAsLong)
            .toArray();
    assertEquals(first.get("index").getAsLong(), (at[0] * 3 + at[1]) * HIDDEN + at[2]);

    CommandRun text =
        CommandRun.of("apply", "rms-norm", "--in", in, "--expect", out(), "--rounding", "input");
    assertEquals(0, text.status());
    assertTrue(text.out().contains("first difference"), text.out());
    assertTrue(
        text.out().matches("(?s).* at \\[\\d, \\d, \\d+]: \\S+, expected \\S+\\R.*"), text.out());
    assertTrue(text.out().matches("(?s).*\\Ry, ulp 0: [0-9.]+ %, 1: [0-9.]+ %\\R.*"), text.out());
    assertTrue(text.out().matches("(?s).*\\Rrstd, ulp 0: 100 %\\R.*"), text.out());
  }

  @Test
  void inputFileMayContainExpectedResults() throws IOException {
    Map<String, TensorView> tensors = inputs(DType.FLOAT32, DType.FLOAT32, "x", "weight", "dy");
    CommandRun.succeeding("apply", "rms-norm", "--in", write(tensors), "--out", out());
    try (SafetensorsFile results = SafetensorsFile.open(out())) {
      tensors.put("y", results.view("y"));
      tensors.put("dx", results.view("dx"));
      Path both = write(tensors);
      CommandRun run = CommandRun.of("apply", "rms-norm", "--in", both, "--expect", both);
      assertEquals(0, run.status());
      assertTrue(run.out().contains("Not in " + both + ": rstd, dweight."), run.out());
      JsonObject json =
          CommandRun.succeeding(
                  "apply", "rms-norm", "--in", both, "--expect", both, "--max-ulp", 0, "--json")
              .json()
              .getAsJsonObject("expect");
      assertEquals(2, json.getAsJsonObject("tensors").size());
      assertEquals(2, json.getAsJsonArray("not_compared").size());
    }
  }

  @Test
  void invalidExpectationsAreRefused() throws IOException {
    Path in = write(inputs(DType.FLOAT32, DType.FLOAT32, "x", "weight"));
    Path expect = directory.resolve("expect.safetensors");
    SafetensorsWriter.write(expect, ImmutableMap.of("z", empty(DType.FLOAT32, 1)));
    CommandRun.refused("has none of the computed tensors: y, rstd", apply(in, "--expect", expect));
    SafetensorsWriter.write(expect, ImmutableMap.of("y", empty(DType.FLOAT32, 1)));
    CommandRun.refused(
        "y is float32 [1], but the computed tensor is float32 [2, 3, 37]",
        apply(in, "--expect", expect));
    SafetensorsWriter.write(expect, ImmutableMap.of("y", empty(DType.BFLOAT16, 2, 3, HIDDEN)));
    CommandRun.refused("--output-dtype bfloat16 selects that type", apply(in, "--expect", expect));
    CommandRun.refused("--max-ulp needs --expect", apply(in, "--max-ulp", "1"));
    CommandRun.refused("--max-ulp is -1", apply(in, "--max-ulp", "-1", "--expect", expect));
    assertFalse(Files.exists(out()));
  }

  @Test
  void invalidInputWritesNothing() throws IOException {
    Path in = write(inputs(DType.FLOAT32, DType.FLOAT32, "weight"));
    CommandRun.refused("has no tensor \"x\"", apply(in));

    Map<String, TensorView> wrong = inputs(DType.FLOAT32, DType.FLOAT32, "x", "weight", "dy");
    wrong.put("weight", empty(DType.FLOAT32, 36));
    CommandRun.refused("weight", apply(write(wrong)));
    wrong.put("weight", empty(DType.FLOAT32, HIDDEN));
    wrong.put("dy", tensor(new Random(1), DType.FLOAT32, 2, 3, 36));
    CommandRun.refused("dy", apply(write(wrong)));
    wrong.put("dy", tensor(new Random(1), DType.BFLOAT16, 2, 3, HIDDEN));
    CommandRun.refused("dy", apply(write(wrong)));

    Path good = write(inputs(DType.FLOAT32, DType.FLOAT32, "x", "weight"));
    CommandRun.refused("epsilon", apply(good, "--epsilon", "-1"));
    CommandRun.refused("epsilon", apply(good, "--epsilon", "NaN"));
    CommandRun.refused(
        "--normalized-dims is 4, expected 1 to 3", apply(good, "--normalized-dims", "4"));
    CommandRun.refused("--variance is welford", apply(good, "--variance", "welford"));
    CommandRun.refused("--normalized-dims is 0", apply(good, "--normalized-dims", "0"));
    CommandRun.refused("--in", "apply", "rms-norm", "--out", out());
    CommandRun.refused("--out is missing", "apply", "rms-norm", "--in", good);
    CommandRun.refused("does not exist", apply(directory.resolve("nowhere")));
    CommandRun.refused(
        "can't be written", "apply", "rms-norm", "--in", good, "--out", directory.resolve("a/b"));
    CommandRun.refused("x is a scalar", apply(write(ImmutableMap.of("x", empty(DType.FLOAT32)))));
    Path lonely = write(inputs(DType.FLOAT32, DType.FLOAT32, "x", "weight", "dresidual"));
    CommandRun.refused("has dresidual but no dy", apply(lonely));
    assertFalse(Files.exists(out()));
  }

  private Object[] apply(Path in, Object... more) {
    Object[] args = new Object[6 + more.length];
    System.arraycopy(new Object[] {"apply", "rms-norm", "--in", in, "--out", out()}, 0, args, 0, 6);
    System.arraycopy(more, 0, args, 6, more.length);
    return args;
  }

  private void assertOutput(Map<String, TensorView> expected) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(out())) {
      assertEquals(ImmutableSet.copyOf(expected.keySet()), file.entries().keySet());
      for (Map.Entry<String, TensorView> tensor : expected.entrySet()) {
        TensorView actual = file.view(tensor.getKey());
        assertEquals(tensor.getValue().dtype(), actual.dtype(), tensor.getKey());
        assertArrayEquals(tensor.getValue().shape(), actual.shape(), tensor.getKey());
        assertArrayEquals(tensor.getValue().toBytes(), actual.toBytes(), tensor.getKey());
      }
    }
  }

  private Path out() {
    return directory.resolve("out.safetensors");
  }

  private Path write(Map<String, TensorView> tensors) throws IOException {
    Path file = directory.resolve("in.safetensors");
    SafetensorsWriter.write(file, tensors);
    return file;
  }

  private static Map<String, TensorView> inputs(DType input, DType parameter, String... names) {
    Random random = new Random(11);
    Map<String, TensorView> tensors = new LinkedHashMap<>();
    for (String name : names) {
      boolean vector = name.equals("weight") || name.equals("bias");
      tensors.put(
          name, vector ? tensor(random, parameter, HIDDEN) : tensor(random, input, 2, 3, HIDDEN));
    }
    return tensors;
  }

  private static TensorView tensor(Random random, DType dtype, long... shape) {
    TensorView view = empty(dtype, shape);
    double[] values = random.doubles(view.elements(), -2, 2).toArray();
    return view.copyFrom(values);
  }

  private static TensorView empty(DType dtype, long... shape) {
    NativeBuffer buffer = NativeBuffer.allocate(dtype, shape);
    buffer.zero();
    return buffer.view(dtype, shape);
  }
}
