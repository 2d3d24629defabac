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
import java.util.stream.LongStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.normcore.DType;
import org.normcore.RotarySpec;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;
import org.normcore.testing.Arena;
import org.normcore.testing.Values;

/** Tests of {@code apply rotary}; the expected values come from the formulas in plain Java. */
class ApplyRotaryCommandTest {
  private static final int BATCH = 2;
  private static final int SEQ = 5;
  private static final int DIM = 8;

  @TempDir private Path directory;

  private final Arena arena = new Arena();

  @AfterEach
  void free() {
    arena.close();
  }

  private TensorView heads(DType dtype, int heads, long seed) {
    return arena.tensor(
        dtype, Values.normal(seed, (long) BATCH * SEQ * heads * DIM), BATCH, SEQ, heads, DIM);
  }

  /** q of three heads and k of two, with their gradients. */
  private RawTensors inputs(DType dtype) {
    return new RawTensors()
        .add("q", heads(dtype, 3, 1))
        .add("k", heads(dtype, 2, 2))
        .add("dq", heads(dtype, 3, 3))
        .add("dk", heads(dtype, 2, 4));
  }

  private Path write(RawTensors tensors) throws IOException {
    return tensors.write(directory.resolve("in.safetensors"));
  }

  private Path out() {
    return directory.resolve("out.safetensors");
  }

  private CommandRun apply(Path in, Object... more) {
    return CommandRun.succeeding(arguments(in, more));
  }

  private Object[] arguments(Path in, Object... more) {
    List<Object> all = new ArrayList<>(List.of("apply", "rotary", "--in", in, "--out", out()));
    all.addAll(List.of(more));
    return all.toArray();
  }

  /** The cosine or sine of each position and pair. */
  private static double[] table(long[] positions, int rotaryDim, double theta, boolean isCos) {
    double[] all = new double[positions.length * rotaryDim / 2];
    for (int i = 0; i < all.length; i++) {
      int pair = i % (rotaryDim / 2);
      double angle = positions[i / (rotaryDim / 2)] * Math.pow(theta, -2.0 * pair / rotaryDim);
      all[i] = isCos ? Math.cos(angle) : Math.sin(angle);
    }
    return all;
  }

  private static void assertTable(double[] expected, TensorView actual, String what) {
    double[] values = actual.toDoubles();
    assertEquals(expected.length, values.length, what);
    // Half a unit in the last place of numbers up to 1, plus the error of Java's own sines.
    double tolerance = (actual.dtype() == DType.FLOAT32 ? 0x1p-25 : 0x1p-9) + 1e-13;
    for (int i = 0; i < values.length; i++) {
      assertEquals(expected[i], values[i], tolerance, what + " at " + i);
    }
  }

  /** The heads rotated by the written table; sign -1 inverts the rotation. */
  private static float[] turned(
      TensorView x, TensorView cos, TensorView sin, boolean interleaved, int sign) {
    float[] in = x.toFloats();
    float[] c = cos.toFloats();
    float[] s = sin.toFloats();
    int pairs = (int) cos.size(-1);
    boolean ofEachBatch = cos.rank() == 3;
    int heads = (int) x.size(2);
    float[] out = in.clone();
    for (int token = 0; token < BATCH * SEQ; token++) {
      int row = ofEachBatch ? token : token % SEQ;
      for (int head = 0; head < heads; head++) {
        int at = (token * heads + head) * DIM;
        for (int i = 0; i < pairs; i++) {
          int first = at + (interleaved ? 2 * i : i);
          int second = at + (interleaved ? 2 * i + 1 : i + pairs);
          float cosine = c[row * pairs + i];
          float sine = sign * s[row * pairs + i];
          out[first] = in[first] * cosine - in[second] * sine;
          out[second] = in[second] * cosine + in[first] * sine;
        }
      }
    }
    return out;
  }

  private void assertTurned(Path in, boolean interleaved) throws IOException {
    try (SafetensorsFile read = SafetensorsFile.open(in);
        SafetensorsFile written = SafetensorsFile.open(out())) {
      assertEquals(
          ImmutableSet.of("q_out", "k_out", "dq_out", "dk_out", "cos", "sin"),
          written.entries().keySet());
      TensorView cos = written.view("cos");
      TensorView sin = written.view("sin");
      for (String name : List.of("q", "k", "dq", "dk")) {
        TensorView x = read.view(name);
        TensorView y = written.view(name + "_out");
        assertEquals(x.dtype(), y.dtype());
        assertArrayEquals(x.shape(), y.shape());
        float[] expected = turned(x, cos, sin, interleaved, name.startsWith("d") ? -1 : 1);
        TensorView rounded = arena.tensor(x.dtype(), x.shape()).copyFrom(expected);
        assertArrayEquals(rounded.toBytes(), y.toBytes(), name);
      }
    }
  }

  @Test
  void rotatesHeadsAndGradients() throws IOException {
    long[] positions = {0, 1, 2, 7, 100};
    for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16)) {
      for (String layout : List.of("half-split", "interleaved")) {
        Path in = write(inputs(dtype).integers("positions", positions, SEQ));
        apply(in, "--layout", layout, "--theta", 500);
        assertTurned(in, layout.equals("interleaved"));
        try (SafetensorsFile written = SafetensorsFile.open(out())) {
          assertEquals(dtype, written.view("cos").dtype());
          assertArrayEquals(new long[] {SEQ, DIM / 2}, written.view("cos").shape());
          assertTable(table(positions, DIM, 500, true), written.view("cos"), "cos");
          assertTable(table(positions, DIM, 500, false), written.view("sin"), "sin");
        }
      }
    }
  }

  @Test
  void positionsOfEachBatchAndPartialRotation() throws IOException {
    long[] positions = LongStream.of(0, 1, 2, 3, 4, 300, 301, 302, 303, 1_000_003).toArray();
    Path in = write(inputs(DType.BFLOAT16).shortIntegers("positions", positions, BATCH, SEQ));
    JsonObject json = apply(in, "--rotary-dim", 4, "--table-dtype", "float32", "--json").json();
    assertTurned(in, false);
    try (SafetensorsFile written = SafetensorsFile.open(out())) {
      assertArrayEquals(new long[] {BATCH, SEQ, 2}, written.view("sin").shape());
      assertTable(table(positions, 4, 10_000, true), written.view("cos"), "cos");
      assertTable(table(positions, 4, 10_000, false), written.view("sin"), "sin");
    }
    assertEquals("rotary", json.get("op").getAsString());
    assertEquals(4, json.getAsJsonObject("spec").get("rotary_dim").getAsInt());
    assertEquals("plain", json.getAsJsonObject("spec").get("scaling").getAsString());
    assertEquals("float32", json.get("table_dtype").getAsString());
    assertEquals("float64", json.get("angles").getAsString());
    assertEquals(6, json.getAsJsonObject("tensors").size());
  }

  @Test
  void everyProductIsRoundedUnderInput() throws IOException {
    long[] positions = {0, 1, 2, 7, 100};
    Path in = write(inputs(DType.BFLOAT16).integers("positions", positions, SEQ));
    apply(in, "--rounding", "input");
    try (SafetensorsFile read = SafetensorsFile.open(in);
        SafetensorsFile written = SafetensorsFile.open(out())) {
      float[] q = read.view("q").toFloats();
      float[] c = written.view("cos").toFloats();
      float[] s = written.view("sin").toFloats();
      float[] y = written.view("q_out").toFloats();
      for (int head = 0; head < BATCH * SEQ * 3; head++) {
        for (int i = 0; i < DIM / 2; i++) {
          int first = head * DIM + i;
          int second = first + DIM / 2;
          int row = head / 3 % SEQ * DIM / 2;
          float a = bfloat16(q[first] * c[row + i]) - bfloat16(q[second] * s[row + i]);
          float b = bfloat16(q[second] * c[row + i]) + bfloat16(q[first] * s[row + i]);
          assertEquals(bfloat16(a), y[first], "element " + first);
          assertEquals(bfloat16(b), y[second], "element " + second);
        }
      }
    }
  }

  /** Rounds to bfloat16 as the sum of the kept bits and the dropped part. */
  private static float bfloat16(float value) {
    if (value == 0) {
      return value;
    }
    double step = Math.scalb(1.0, Math.getExponent(value) - 7);
    return (float) (Math.rint(value / step) * step);
  }

  @Test
  void configDefinesTheEmbedding() throws IOException {
    Path config = directory.resolve("config.json");
    Files.writeString(
        config, "{\"head_dim\": 8, \"rope_theta\": 500.0, \"partial_rotary_factor\": 0.5}");
    long[] positions = {0, 1, 2, 3, 4};
    Path in = write(inputs(DType.FLOAT32).integers("positions", positions, SEQ));
    String text = apply(in, "--config", config).out();
    assertTrue(text.contains("rotary of 4 of 8 elements, theta 500, plain, half-split"), text);
    assertTurned(in, false);
    try (SafetensorsFile written = SafetensorsFile.open(out())) {
      assertTable(table(positions, 4, 500, true), written.view("cos"), "cos");
    }
    CommandRun.refused(
        "--theta can't be given with --config", arguments(in, "--config", config, "--theta", 7));
    CommandRun.refused(
        "--rotary-dim can't be given with --config",
        arguments(in, "--config", config, "--rotary-dim", 4));
    CommandRun.refused("--layer-type needs a --config", arguments(in, "--layer-type", "x"));
    Files.writeString(config, "{\"head_dim\": 16}");
    CommandRun.refused(
        "in.safetensors: head_dim of q is 8, expected 16, as " + config + " has head_dim 16",
        arguments(in, "--config", config));
    Files.writeString(config, "{\"head_dim\": \"8\"}");
    CommandRun.refused("head_dim", arguments(in, "--config", config));
    CommandRun.refused(
        "does not exist", arguments(in, "--config", directory.resolve("nowhere.json")));
  }

  @Test
  void resultsAreCompared() throws IOException {
    Path in = write(inputs(DType.BFLOAT16).integers("positions", new long[SEQ], SEQ));
    apply(in);
    CommandRun.succeeding(
        "apply", "rotary", "--in", in, "--expect", out(), "--max-ulp", 0, "--rounding", "input");
    in = write(inputs(DType.BFLOAT16).integers("positions", new long[] {0, 1, 2, 3, 4}, SEQ));
    CommandRun other =
        CommandRun.of("apply", "rotary", "--in", in, "--expect", out(), "--max-ulp", 0);
    assertEquals(1, other.status());
    assertTrue(other.out().contains("The limit of 0 ulp is exceeded."), other.out());
  }

  @Test
  void floatingPointPositionsAreRefusedWithTheReason() throws IOException {
    for (DType dtype : List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT64)) {
      TensorView positions = arena.tensor(dtype, new double[] {0, 1, 2, 3, 4}, SEQ);
      Path in = write(inputs(DType.BFLOAT16).add("positions", positions));
      CommandRun.refused(
          "positions is "
              + dtype.safetensorsName()
              + ", expected I64 or I32: positions are integers, which floating-point types represent exactly only"
              + " up to a limit (BF16 up to 256, F16 up to 2048)",
          arguments(in));
    }
    assertFalse(Files.exists(out()));
  }

  @Test
  void invalidInputWritesNothing() throws IOException {
    long[] positions = {0, 1, 2, 3, 4};
    TensorView q = heads(DType.FLOAT32, 3, 1);
    TensorView k = heads(DType.FLOAT32, 2, 2);
    refused("has no tensor \"q\"", new RawTensors().add("k", k));
    refused("has no tensor \"k\"", new RawTensors().add("q", q));
    refused("has no tensor \"positions\"", new RawTensors().add("q", q).add("k", k));
    RawTensors both = new RawTensors().add("q", q).add("k", k);
    refused(
        "positions has the shape [4], expected [5] or [2, 5]",
        both.integers("positions", new long[4], 4));
    refused(
        "positions is U8, expected I64 or I32",
        new RawTensors().add("q", q).add("k", k).add("positions", "U8", new byte[5], 5));
    refused(
        "in.safetensors: positions[3] is -1, expected 0 to 2^40",
        new RawTensors()
            .add("q", q)
            .add("k", k)
            .integers("positions", new long[] {0, 1, 2, -1, 4}, 5));
    refused(
        "in.safetensors: positions[0] is 1099511627777, expected 0 to 2^40",
        new RawTensors()
            .add("q", q)
            .add("k", k)
            .integers("positions", new long[] {(1L << 40) + 1, 0, 0, 0, 0}, 5));
    refused(
        "q has the shape [10, 24], expected [batch, seq, heads, dim]",
        new RawTensors()
            .add("q", arena.tensor(DType.FLOAT32, 10, 24))
            .add("k", k)
            .integers("positions", positions, SEQ));
    refused(
        "k is [2, 4, 2, 8], expected the batch and seq of q, [2, 5, 3, 8]",
        new RawTensors()
            .add("q", q)
            .add("k", arena.tensor(DType.FLOAT32, 2, 4, 2, 8))
            .integers("positions", positions, SEQ));
    refused(
        "in.safetensors: k is BF16, expected F32, as q is",
        new RawTensors()
            .add("q", q)
            .add("k", heads(DType.BFLOAT16, 2, 2))
            .integers("positions", positions, SEQ));
    refused(
        "dq has the shape [2, 5, 2, 8], expected [2, 5, 3, 8]",
        new RawTensors()
            .add("q", q)
            .add("k", k)
            .add("dq", k)
            .integers("positions", positions, SEQ));
    refused(
        "in.safetensors: q is F64, expected F32, BF16 or F16",
        new RawTensors()
            .add("q", heads(DType.FLOAT64, 3, 1))
            .add("k", k)
            .integers("positions", positions, SEQ));
    refused(
        "in.safetensors: q is F8_E4M3, expected F32, BF16 or F16",
        new RawTensors()
            .add("q", "F8_E4M3", new byte[2 * 5 * 3 * 8], 2, 5, 3, 8)
            .add("k", k)
            .integers("positions", positions, SEQ));
    refused(
        "in.safetensors: k is F64, expected F32, BF16 or F16",
        new RawTensors()
            .add("q", q)
            .add("k", heads(DType.FLOAT64, 2, 2))
            .integers("positions", positions, SEQ));
    refused(
        "in.safetensors: head_dim of k is 6, expected that of q, 8",
        new RawTensors()
            .add("q", q)
            .add("k", arena.tensor(DType.FLOAT32, 2, 5, 2, 6))
            .integers("positions", positions, SEQ));
    refused(
        "in.safetensors: dk is F16, expected F32, as q is",
        new RawTensors()
            .add("q", q)
            .add("k", k)
            .add("dk", heads(DType.FLOAT16, 2, 2))
            .integers("positions", positions, SEQ));
    refused(
        "in.safetensors: positions[1][3] is -7, expected 0 to 2^40",
        new RawTensors()
            .add("q", q)
            .add("k", k)
            .integers("positions", new long[] {0, 1, 2, 3, 4, 0, 1, 2, -7, 4}, BATCH, SEQ));
    for (int dim : new int[] {0, 1, 7, RotarySpec.MAX_HEAD_DIM + 2}) {
      TensorView odd = arena.tensor(DType.FLOAT32, 2, 5, 2, dim);
      refused(
          "in.safetensors: head_dim of q is "
              + dim
              + ", expected 2 to "
              + RotarySpec.MAX_HEAD_DIM
              + ", and an even number without --rotary-dim",
          new RawTensors().add("q", odd).add("k", odd).integers("positions", positions, SEQ));
    }
    Path good = write(inputs(DType.FLOAT32).integers("positions", positions, SEQ));
    for (int dim : new int[] {-2, 0, 1, 3, 7, 10}) {
      CommandRun.refused(
          "--rotary-dim is " + dim + ", expected an even number from 2 to the head_dim, 8",
          arguments(good, "--rotary-dim", dim));
    }
    for (double theta : new double[] {-1, 0, Double.NaN, Double.POSITIVE_INFINITY}) {
      CommandRun.refused(
          "--theta is " + theta + ", expected a positive, finite number",
          arguments(good, "--theta", theta));
    }
    for (String type : List.of("float64", "float8-e4m3", "float8-e5m2")) {
      CommandRun.refused(
          "--table-dtype is " + type + ", expected float32, bfloat16 or float16",
          arguments(good, "--table-dtype", type));
    }
    CommandRun.refused(
        "\"float8-e8m0\" is not one of float64, float32, bfloat16, float16, float8-e4m3,"
            + " float8-e5m2 (see",
        arguments(good, "--table-dtype", "float8-e8m0"));
    CommandRun.refused(
        "--sequence-length is -4, expected at least 0", arguments(good, "--sequence-length", -4));
    CommandRun.refused("is not one of half-split", arguments(good, "--layout", "x"));
    CommandRun.refused("--out is missing", "apply", "rotary", "--in", good);
    assertFalse(Files.exists(out()));
  }

  private void refused(String text, RawTensors tensors) throws IOException {
    CommandRun.refused(text, arguments(write(tensors)));
  }
}
