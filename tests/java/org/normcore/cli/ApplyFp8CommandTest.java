package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.common.collect.ImmutableSet;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;
import org.normcore.testing.Arena;
import org.normcore.testing.Fp8Model;
import org.normcore.testing.Values;

/**
 * {@code apply fp8}, and FP8 outputs of {@code apply rms-norm}, against the model of the formats.
 */
class ApplyFp8CommandTest {
  private static final int ROWS = 6;
  private static final int COLUMNS = 70;
  private static final int BLOCKS = 3;

  @TempDir private Path directory;

  private final Arena arena = new Arena();

  @AfterEach
  void free() {
    arena.close();
  }

  private TensorView values(DType dtype, long seed, double deviation) {
    return arena.tensor(
        dtype, Values.normal(seed, ROWS * COLUMNS, 0, deviation), 2, ROWS / 2, COLUMNS);
  }

  private Path write(RawTensors tensors) throws IOException {
    return tensors.write(directory.resolve("in.safetensors"));
  }

  private Path out() {
    return directory.resolve("out.safetensors");
  }

  private Object[] arguments(String op, Path in, Object... more) {
    List<Object> all = new ArrayList<>(List.of("apply", op, "--in", in, "--out", out()));
    all.addAll(List.of(more));
    return all.toArray();
  }

  private static DType format(String name) {
    return name.equals("e4m3") ? DType.FLOAT8_E4M3 : DType.FLOAT8_E5M2;
  }

  /** Checks q and its dequantised values; the scale of element i is number i / perScale. */
  private static void assertQuantised(
      Fp8Model model,
      double[] x,
      float[] scales,
      float[] inverses,
      int[] scaleOf,
      TensorView q,
      TensorView back) {
    byte[] codes = q.toBytes();
    float[] values = back == null ? null : back.toFloats();
    for (int i = 0; i < x.length; i++) {
      byte expected = model.encode((float) x[i] * scales[scaleOf[i]]);
      assertEquals(expected, codes[i], "element " + i);
      if (values != null) {
        assertEquals((float) model.decode(expected) * inverses[scaleOf[i]], values[i], "back " + i);
      }
    }
  }

  private static int[] oneScale() {
    return new int[ROWS * COLUMNS];
  }

  private static int[] scaleOfEachBlock() {
    int[] scale = new int[ROWS * COLUMNS];
    for (int i = 0; i < scale.length; i++) {
      scale[i] = i / COLUMNS * BLOCKS + i % COLUMNS / 32;
    }
    return scale;
  }

  @Test
  void computedOrGivenTensorScale() throws IOException {
    for (String format : List.of("e4m3", "e5m2")) {
      Fp8Model model = Fp8Model.of(format(format));
      for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16)) {
        TensorView x = values(dtype, 3, 0.02);
        Path in = write(new RawTensors().add("x", x));
        double[] v = x.toDoubles();
        float amax = Fp8Model.amax(v, 0, v.length);
        Object[][] ways = {
          {}, {"--power-of-two"}, {"--margin", 3}, {"--scale", 1}, {"--scale", 1e6}
        };
        float[] scales = {
          model.scale(amax, 0, false),
          model.scale(amax, 0, true),
          model.scale(amax, 3, false),
          1,
          1e6f
        };
        for (int way = 0; way < ways.length; way++) {
          List<Object> more = new ArrayList<>(List.of("--format", format));
          more.addAll(List.of(ways[way]));
          String text = CommandRun.succeeding(arguments("fp8", in, more.toArray())).out();
          assertTrue(
              text.contains(
                  "\nscale " + scales[way] + ", scale_inv " + 1 / scales[way] + ", amax " + amax),
              text);
          more.add("--json");
          JsonObject json = CommandRun.succeeding(arguments("fp8", in, more.toArray())).json();
          assertEquals(Float.toString(scales[way]), json.get("scale").getAsString());
          assertEquals(Float.toString(1 / scales[way]), json.get("scale_inv").getAsString());
          assertEquals(Float.toString(amax), json.get("amax").getAsString());
          try (SafetensorsFile written = SafetensorsFile.open(out())) {
            assertEquals(
                ImmutableSet.of("q", "scale", "scale_inv", "amax", "dequantized"),
                written.entries().keySet());
            assertEquals(scales[way], written.view("scale").toFloats()[0]);
            assertEquals(1 / scales[way], written.view("scale_inv").toFloats()[0]);
            assertEquals(amax, written.view("amax").toFloats()[0]);
            assertEquals(format(format), written.view("q").dtype());
            assertArrayEquals(x.shape(), written.view("q").shape());
            assertEquals(DType.FLOAT32, written.view("dequantized").dtype());
            assertQuantised(
                model,
                v,
                new float[] {scales[way]},
                new float[] {1 / scales[way]},
                oneScale(),
                written.view("q"),
                written.view("dequantized"));
          }
        }
      }
    }
  }

  @Test
  void mxfp8() throws IOException {
    for (String format : List.of("e4m3", "e5m2")) {
      Fp8Model model = Fp8Model.of(format(format));
      TensorView x = values(DType.BFLOAT16, 4, 3);
      Path in = write(new RawTensors().add("x", x));
      String text =
          CommandRun.succeeding(arguments("fp8", in, "--format", format, "--scaling", "mxfp8"))
              .out();
      assertTrue(text.contains("scaling mxfp8"), text);
      double[] v = x.toDoubles();
      assertTrue(text.contains("\namax " + Fp8Model.amax(v, 0, v.length) + "\n"), text);
      try (SafetensorsFile written = SafetensorsFile.open(out())) {
        assertEquals(
            ImmutableSet.of("q", "scale_inv", "amax", "dequantized"), written.entries().keySet());
        TensorView inverse = written.view("scale_inv");
        assertEquals(DType.FLOAT8_E8M0, inverse.dtype());
        assertArrayEquals(new long[] {2, ROWS / 2, BLOCKS}, inverse.shape());
        assertBlocks(model, v, inverse, written.view("q"), written.view("dequantized"));
      }
    }
  }

  private static void assertBlocks(
      Fp8Model model, double[] v, TensorView inverse, TensorView q, TensorView back) {
    byte[] codes = inverse.toBytes();
    float[] scales = new float[ROWS * BLOCKS];
    float[] inverses = new float[ROWS * BLOCKS];
    for (int i = 0; i < scales.length; i++) {
      int begin = i / BLOCKS * COLUMNS + i % BLOCKS * 32;
      int end = Math.min(begin + 32, (i / BLOCKS + 1) * COLUMNS);
      int code = model.blockCode(Fp8Model.amax(v, begin, end));
      assertEquals((byte) code, codes[i], "block " + i);
      scales[i] = (float) Math.pow(2, 127 - code);
      inverses[i] = (float) Math.pow(2, code - 127);
    }
    assertQuantised(model, v, scales, inverses, scaleOfEachBlock(), q, back);
  }

  @Test
  void outputDescribesResults() throws IOException {
    Path in = write(new RawTensors().add("x", values(DType.FLOAT32, 3, 1)));
    JsonObject json =
        CommandRun.succeeding(arguments("fp8", in, "--json", "--format", "e5m2", "--margin", 2))
            .json();
    assertEquals("fp8", json.get("op").getAsString());
    assertEquals("float8-e5m2", json.get("format").getAsString());
    assertEquals("tensor", json.get("scaling").getAsString());
    assertEquals(2, json.get("margin").getAsInt());
    assertEquals(5, json.getAsJsonObject("tensors").size());
    JsonObject same =
        CommandRun.succeeding(
                "apply",
                "fp8",
                "--in",
                in,
                "--format",
                "e5m2",
                "--margin",
                2,
                "--expect",
                out(),
                "--max-ulp",
                0,
                "--json")
            .json();
    assertFalse(same.getAsJsonObject("expect").get("exceeded").getAsBoolean());
  }

  @Test
  void wrongOptionsAndInputs() throws IOException {
    Path in = write(new RawTensors().add("x", values(DType.FLOAT32, 3, 1)));
    refused("--margin is 65, expected 0 to 64", in, "--margin", 65);
    refused("--margin is -1, expected 0 to 64", in, "--margin", -1);
    refused("--scale is 0.0, expected a positive", in, "--scale", 0);
    refused("--scale is NaN, expected a positive", in, "--scale", "NaN");
    refused("--scale is Infinity, expected", in, "--scale", "Infinity");
    refused("--margin can't be given, because --scale is", in, "--margin", 1, "--scale", 2);
    refused("--power-of-two can't be given", in, "--power-of-two", "--scale", 2);
    refused("--power-of-two can't be given", in, "--power-of-two", "--scaling", "mxfp8");
    refused("--scale can't be given", in, "--scale", 2, "--scaling", "mxfp8");
    refused("is not one of e4m3, e5m2", in, "--format", "e3m4");
    refused("is not one of tensor, mxfp8", in, "--scaling", "row");
    for (DType dtype :
        List.of(DType.FLOAT64, DType.FLOAT8_E4M3, DType.FLOAT8_E5M2, DType.FLOAT8_E8M0)) {
      String type = dtype.safetensorsName();
      refused(
          "in.safetensors: x is " + type + ", expected F32, BF16 or F16",
          write(new RawTensors().add("x", type, new byte[dtype.bytes() * 3], 3)));
    }
    refused("has no tensor \"x\"", write(new RawTensors().add("y", values(DType.FLOAT32, 3, 1))));
    assertFalse(Files.exists(out()));
  }

  private void refused(String text, Path in, Object... more) {
    CommandRun.refused(text, arguments("fp8", in, more));
  }

  /** The float32 output of the norm, which it quantises. */
  private double[] normalised(Path in, Object... more) throws IOException {
    List<Object> all = new ArrayList<>(List.of("--output-dtype", "float32"));
    all.addAll(List.of(more));
    CommandRun.succeeding(arguments("rms-norm", in, all.toArray()));
    try (SafetensorsFile written = SafetensorsFile.open(out())) {
      return written.view("y").toDoubles();
    }
  }

  @Test
  void fp8NormOutputs() throws IOException {
    TensorView x = values(DType.BFLOAT16, 6, 2);
    TensorView weight = arena.tensor(DType.BFLOAT16, Values.normal(9, COLUMNS), COLUMNS);
    Path in = write(new RawTensors().add("x", x).add("weight", weight));
    for (String policy : List.of("hugging-face-llama", "transformer-engine")) {
      double[] v = normalised(in, "--policy", policy);
      float amax = Fp8Model.amax(v, 0, v.length);
      for (String format : List.of("e4m3", "e5m2")) {
        Fp8Model model = Fp8Model.of(format(format));
        Object[] way = {"--policy", policy, "--output-dtype", "float8-" + format};
        float own = model.scale(amax, 0, false);
        assertOneScale(model, v, own, amax, in, way, "--output-scaling", "tensor");
        assertOneScale(
            model,
            v,
            model.scale(amax, 0, true),
            amax,
            in,
            way,
            "--output-scaling",
            "tensor",
            "--power-of-two");
        assertOneScale(
            model, v, 3.5f, amax, in, way, "--output-scaling", "tensor", "--output-scale", 3.5);
        for (boolean powerOfTwo : new boolean[] {false, true}) {
          assertRows(model, v, powerOfTwo, in, way);
        }
        CommandRun.succeeding(arguments("rms-norm", in, join(way, "--output-scaling", "block")));
        try (SafetensorsFile written = SafetensorsFile.open(out())) {
          TensorView inverse = written.view("y_scale_inv");
          assertArrayEquals(new long[] {2, ROWS / 2, BLOCKS}, inverse.shape());
          assertBlocks(model, v, inverse, written.view("y"), null);
        }
      }
    }
  }

  private void assertOneScale(
      Fp8Model model, double[] v, float scale, float amax, Path in, Object[] way, Object... more)
      throws IOException {
    JsonObject json =
        CommandRun.succeeding(arguments("rms-norm", in, join(join(way, more), "--json"))).json();
    assertEquals(scale, json.get("output_scale").getAsFloat());
    try (SafetensorsFile written = SafetensorsFile.open(out())) {
      assertEquals(
          ImmutableSet.of("y", "rstd", "y_scale_inv", "y_amax"), written.entries().keySet());
      assertEquals(1 / scale, written.view("y_scale_inv").toFloats()[0]);
      assertEquals(amax, written.view("y_amax").toFloats()[0]);
      assertQuantised(
          model,
          v,
          new float[] {scale},
          new float[] {1 / scale},
          oneScale(),
          written.view("y"),
          null);
    }
  }

  private void assertRows(Fp8Model model, double[] v, boolean powerOfTwo, Path in, Object[] way)
      throws IOException {
    Object[] more = join(way, "--output-scaling", "row");
    CommandRun.succeeding(
        arguments("rms-norm", in, powerOfTwo ? join(more, "--power-of-two") : more));
    float[] scales = new float[ROWS];
    float[] inverses = new float[ROWS];
    int[] scaleOf = new int[v.length];
    for (int i = 0; i < v.length; i++) {
      scaleOf[i] = i / COLUMNS;
    }
    for (int row = 0; row < ROWS; row++) {
      float amax = Fp8Model.amax(v, row * COLUMNS, (row + 1) * COLUMNS);
      scales[row] = model.scale(amax, 0, powerOfTwo);
      inverses[row] = 1 / scales[row];
    }
    try (SafetensorsFile written = SafetensorsFile.open(out())) {
      assertArrayEquals(new long[] {2, ROWS / 2}, written.view("y_scale_inv").shape());
      assertArrayEquals(inverses, written.view("y_scale_inv").toFloats());
      assertQuantised(model, v, scales, inverses, scaleOf, written.view("y"), null);
    }
  }

  private static Object[] join(Object[] first, Object... second) {
    List<Object> all = new ArrayList<>(List.of(first));
    all.addAll(List.of(second));
    return all.toArray();
  }

  /** The gradients do not depend on the quantisation; dy keeps its own type. */
  @Test
  void backwardOfQuantisedNorms() throws IOException {
    TensorView x = values(DType.BFLOAT16, 6, 2);
    TensorView dy = values(DType.FLOAT32, 7, 1);
    Path in = write(new RawTensors().add("x", x).add("dy", dy));
    CommandRun.succeeding(
        arguments("layer-norm", in, "--policy", "pytorch", "--output-dtype", "float32"));
    byte[] expected;
    try (SafetensorsFile written = SafetensorsFile.open(out())) {
      expected = written.view("dx").toBytes();
    }
    CommandRun.succeeding(
        arguments(
            "layer-norm",
            in,
            "--policy",
            "pytorch",
            "--output-dtype",
            "float8-e4m3",
            "--output-scaling",
            "row"));
    try (SafetensorsFile written = SafetensorsFile.open(out())) {
      assertArrayEquals(expected, written.view("dx").toBytes());
    }
  }

  @Test
  void wrongOutputOptions() throws IOException {
    Path in = write(new RawTensors().add("x", values(DType.FLOAT32, 3, 1)));
    normRefused("--output-scaling is missing", in, "--output-dtype", "float8-e4m3");
    normRefused("--output-scaling is row, expected it with", in, "--output-scaling", "row");
    for (String option : List.of("--output-dtype", "--grad-dtype")) {
      normRefused(
          "\"float8-e8m0\" is not one of float64, float32, bfloat16, float16, float8-e4m3,"
              + " float8-e5m2 (see",
          in,
          option,
          "float8-e8m0");
    }
    Object[] row = {"--output-dtype", "float8-e5m2", "--output-scaling", "row"};
    normRefused(
        "--output-scale is 2.0, expected it with --output-scaling tensor only",
        in,
        join(row, "--output-scale", 2));
    Object[] tensor = {"--output-dtype", "float8-e5m2", "--output-scaling", "tensor"};
    normRefused(
        "--output-scale is -2.0, expected a positive", in, join(tensor, "--output-scale", -2));
    normRefused(
        "--power-of-two is given, but", in, join(tensor, "--output-scale", 2, "--power-of-two"));
    normRefused("--power-of-two is given, but", in, "--power-of-two");
    normRefused(
        "--power-of-two is given, but",
        in,
        "--output-dtype",
        "float8-e5m2",
        "--output-scaling",
        "block",
        "--power-of-two");
    assertFalse(Files.exists(out()));
  }

  private void normRefused(String text, Path in, Object... more) {
    CommandRun.refused(text, arguments("rms-norm", in, more));
  }
}
