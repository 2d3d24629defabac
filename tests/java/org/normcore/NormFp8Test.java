package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;
import static org.normcore.DType.FLOAT8_E4M3;
import static org.normcore.DType.FLOAT8_E5M2;
import static org.normcore.DType.FLOAT8_E8M0;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Consumer;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.normcore.testing.Arena;
import org.normcore.testing.Fp8Model;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/**
 * FP8 outputs. The quantised values are exactly the output of the same norm with an output of the
 * compute type, where the last rounding changes nothing under any policy. The model quantises that
 * output.
 */
class NormFp8Test {
  private static final List<DType> FORMATS = List.of(FLOAT8_E4M3, FLOAT8_E5M2);

  /** A scaling method. */
  record Way(DType format, Fp8Scaling scaling, boolean powerOfTwo) {
    Norm.Builder<?> on(Norm.Builder<?> builder) {
      return builder.output(format).outputScaling(scaling).powerOfTwoScales(powerOfTwo);
    }
  }

  static List<Way> ways() {
    List<Way> ways = new ArrayList<>();
    for (DType format : FORMATS) {
      for (Fp8Scaling scaling : Fp8Scaling.values()) {
        ways.add(new Way(format, scaling, false));
      }
      ways.add(new Way(format, Fp8Scaling.ROW, true));
    }
    return ways;
  }

  /** The values before quantisation: y of the same norm with an output of the compute type. */
  private static double[] values(Norm.Builder<?> builder, NormTensors t) {
    try (Arena arena = new Arena();
        Norm wide = builder.build()) {
      TensorView v = arena.tensor(wide.outputDType(), t.x.shape());
      Operands operands = Operands.of(t.x, v).weight(t.weight).bias(t.bias);
      wide.infer(
          t.residual == null
              ? operands
              : operands.residual(t.residual, arena.tensor(t.x.dtype(), t.x.shape())));
      return v.toDoubles();
    }
  }

  /** The model's y, its inverse scales as bytes of their dtype's numbers, and amax. */
  private record Expected(byte[] y, double[] scaleInv, float amax) {}

  private static Expected expected(Way way, ComputeType compute, double[] v, int rows, int n) {
    Fp8Model model = Fp8Model.of(way.format);
    byte[] y = new byte[v.length];
    int blocks = (n + 31) / 32;
    double[] scaleInv =
        new double
            [way.scaling == Fp8Scaling.BLOCK
                ? rows * blocks
                : way.scaling == Fp8Scaling.ROW ? rows : 0];
    for (int i = 0; i < v.length; i++) {
      int row = i / n;
      double scale;
      if (way.scaling == Fp8Scaling.TENSOR) {
        scale = 20.5;
      } else if (way.scaling == Fp8Scaling.ROW) {
        float s = model.scale(Fp8Model.amax(v, row * n, row * n + n), 0, way.powerOfTwo);
        scaleInv[row] = 1 / s;
        scale = s;
      } else {
        int begin = row * n + i % n / 32 * 32;
        int end = Math.min(begin + 32, row * n + n);
        scaleInv[row * blocks + i % n / 32] =
            Math.pow(2, model.blockCode(Fp8Model.amax(v, begin, end)) - 127);
        scale = 1 / scaleInv[row * blocks + i % n / 32];
      }
      // A product of two float32 numbers is exact in float64.
      y[i] = model.encode(compute == ComputeType.FLOAT64 ? v[i] * scale : (float) (v[i] * scale));
    }
    return new Expected(y, scaleInv, Fp8Model.amax(v, 0, v.length));
  }

  private static void assertQuantised(Way way, Norm norm, NormTensors t, double[] v, String what) {
    int rows = (int) (v.length / norm.hiddenSize());
    Expected expected = expected(way, norm.policy().compute(), v, rows, (int) norm.hiddenSize());
    assertArrayEquals(expected.y, t.y.toBytes(), what);
    if (t.yScaleInv != null) {
      assertArrayEquals(expected.scaleInv, t.yScaleInv.toDoubles(), what);
    }
    if (t.yAmax != null) {
      assertEquals(expected.amax, t.yAmax.toFloats()[0], what);
    }
  }

  @ParameterizedTest
  @EnumSource
  void quantisesAfterPolicyRounding(NormKind kind) {
    NormPolicy[] policies = {
      NormPolicy.PYTORCH,
      NormPolicy.HUGGING_FACE_LLAMA,
      NormPolicy.T5,
      NormPolicy.GEMMA,
      NormPolicy.LAYER_NORM_1P,
      NormPolicy.PYTORCH.toBuilder()
          .compute(ComputeType.FLOAT64)
          .residualRounding(ResidualRounding.COMPUTE)
          .build(),
      NormPolicy.PYTORCH.toBuilder().residualRounding(ResidualRounding.COMPUTE).build()
    };
    DType[][] types = {
      {BFLOAT16, BFLOAT16},
      {BFLOAT16, FLOAT32},
      {FLOAT16, FLOAT16},
      {FLOAT32, FLOAT32},
      {FLOAT64, BFLOAT16}
    };
    int turn = 0;
    for (NormPolicy policy : policies) {
      for (DType[] type : types) {
        for (Way way : ways()) {
          int n = new int[] {1, 5, 31, 32, 33, 64, 100, 257, 1024}[turn % 9];
          Affine affine = Affine.values()[turn % 4];
          boolean residual = turn % 2 == 0 || policy.residualRounding() == ResidualRounding.COMPUTE;
          Layout layout = new Layout(turn % 3, turn % 5);
          turn++;
          Norm.Builder<?> builder = NormTensors.builder(kind, n, type[0], type[1], affine, policy);
          try (Norm norm = way.on(builder).build();
              NormTensors t = new NormTensors(norm, 4, residual, layout, turn)) {
            double[] v =
                values(
                    NormTensors.builder(kind, n, type[0], type[1], affine, policy)
                        .output(policy.compute().dtype()),
                    t);
            norm.infer(t.operands());
            assertQuantised(way, norm, t, v, norm.toString());
            t.assertGuards();
          }
        }
      }
    }
  }

  /** Rows longer than a tile of the kernels. */
  @ParameterizedTest
  @EnumSource
  void longRows(NormKind kind) {
    NormPolicy wide = NormPolicy.PYTORCH.toBuilder().compute(ComputeType.FLOAT64).build();
    for (int n : new int[] {2048, 4096, 4097, 9000, 20_000}) {
      for (Way way : ways()) {
        for (NormPolicy policy : List.of(NormPolicy.HUGGING_FACE_LLAMA, NormPolicy.PYTORCH, wide)) {
          UnaryOperator<Norm.Builder<?>> common = b -> b.policy(policy).input(BFLOAT16);
          try (Norm norm = way.on(common.apply(NormTensors.builder(kind, n))).build();
              NormTensors t = new NormTensors(norm, 2, false, Layout.DENSE, n)) {
            double[] v =
                values(
                    common.apply(NormTensors.builder(kind, n)).output(policy.compute().dtype()), t);
            norm.infer(t.operands());
            assertQuantised(way, norm, t, v, norm.toString());
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("ways")
  void specialValues(Way way) {
    int n = 70;
    double[] x = new double[5 * n];
    Arrays.fill(x, 0, n, 0); // A row of zeros: amax is 0.
    for (int i = n; i < x.length; i++) {
      x[i] = (i % 7 - 3) * Math.pow(2, i % 40 - 20);
    }
    double[] weight = new double[n];
    for (int i = 0; i < n; i++) {
      weight[i] = i < 10 ? 1e30 : i < 32 ? 1e-30 : i < 64 ? 0 : 1;
    }
    x[2 * n + 3] = Double.NaN; // NaN spreads over the row.
    weight[40] = Double.NaN; // NaN in one column only.
    weight[65] = Double.POSITIVE_INFINITY;
    for (Affine affine : new Affine[] {Affine.NONE, Affine.WEIGHT}) {
      UnaryOperator<RmsNorm.Builder> common =
          b -> b.affine(affine).policy(NormPolicy.PYTORCH).input(FLOAT32).epsilon(1e-12);
      try (Norm norm = way.on(common.apply(RmsNorm.builder(n))).build();
          NormTensors t = new NormTensors(norm, 5, false, Layout.DENSE, 1)) {
        t.x.copyFrom(x);
        if (t.weight != null) {
          t.weight.copyFrom(weight);
        }
        double[] v = values(common.apply(RmsNorm.builder(n)), t);
        norm.infer(t.operands());
        assertQuantised(way, norm, t, v, norm + ", " + affine);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("ways")
  void formsOfTheForwardAgree(Way way) {
    for (NormKind kind : NormKind.values()) {
      Norm.Builder<?> builder =
          NormTensors.builder(
              kind, 96, BFLOAT16, FLOAT32, Affine.WEIGHT, NormPolicy.HUGGING_FACE_LLAMA);
      try (Norm norm = way.on(builder).build();
          NormTensors t = new NormTensors(norm, 5, true, Layout.DENSE, 3);
          Saved saved = norm.forward(t.operands())) {
        List<byte[]> expected = t.rowResults(0, 5);
        t.clear();
        norm.forward(t.operands(), saved);
        assertSame(expected, t, "forward into a Saved");
        t.clear();
        norm.infer(t.operands());
        assertSame(expected, t, "infer");
        t.clear();
        norm.forward(t.operands(), saved.mean(), saved.rstd());
        assertSame(expected, t, "forward into buffers");
        t.assertGuards();
      }
    }
  }

  private static void assertSame(List<byte[]> expected, NormTensors t, String what) {
    List<byte[]> actual = t.rowResults(0, 5);
    // The last tensor is dx, which no forward writes.
    for (int i = 0; i < expected.size() - 1; i++) {
      assertArrayEquals(expected.get(i), actual.get(i), what);
    }
  }

  @ParameterizedTest
  @MethodSource("ways")
  void levelsThreadsAndLayoutsGiveTheSameBits(Way way) {
    int[][] shapes = {{300, 1000}, {3, 20_001}, {9500, 33}};
    for (int[] shape : shapes) {
      UnaryOperator<Norm.Builder<?>> common =
          b -> way.on(b.input(BFLOAT16).policy(NormPolicy.HUGGING_FACE_LLAMA));
      for (NormKind kind : NormKind.values()) {
        List<byte[]> expected;
        try (Norm plain =
                common
                    .apply(NormTensors.builder(kind, shape[1]))
                    .vectorLevel(VectorLevel.PLAIN)
                    .threads(1)
                    .build();
            NormTensors t = new NormTensors(plain, shape[0], true, Layout.DENSE, 9)) {
          t.run();
          expected = t.results();
        }
        for (VectorLevel level : VectorLevel.values()) {
          int threads = level == VectorLevel.BEST ? 7 : 1;
          Layout layout = new Layout(threads, level.ordinal() % 3, 1);
          if (level.isSupported()) {
            try (Norm norm =
                    common
                        .apply(NormTensors.builder(kind, shape[1]))
                        .vectorLevel(level)
                        .threads(threads)
                        .build();
                NormTensors t = new NormTensors(norm, shape[0], true, layout, 9)) {
              t.run();
              t.assertResults(expected, level + " with " + threads + " threads, " + norm);
              t.assertGuards();
            }
          }
        }
      }
    }
  }

  /** The gradient is that of the norm without the quantisation. */
  @ParameterizedTest
  @EnumSource
  void backwardIgnoresQuantisation(NormKind kind) {
    for (NormPolicy policy :
        List.of(NormPolicy.PYTORCH, NormPolicy.HUGGING_FACE_LLAMA, NormPolicy.T5)) {
      for (DType gradient : new DType[] {null, FLOAT32, BFLOAT16, FLOAT16, FLOAT64}) {
        Norm.Builder<?> plain =
            NormTensors.builder(kind, 72, BFLOAT16, FLOAT32, Affine.WEIGHT_AND_BIAS, policy);
        Norm.Builder<?> quantised =
            NormTensors.builder(kind, 72, BFLOAT16, FLOAT32, Affine.WEIGHT_AND_BIAS, policy)
                .output(FLOAT8_E5M2)
                .outputScaling(Fp8Scaling.BLOCK);
        if (gradient != null) {
          plain.output(gradient);
          quantised.gradient(gradient);
        }
        try (Norm a = plain.build();
            Norm b = quantised.build();
            NormTensors ta = new NormTensors(a, 6, true, Layout.DENSE, 2);
            NormTensors tb = new NormTensors(b, 6, true, Layout.DENSE, 2)) {
          assertEquals(a.outputDType(), b.gradientDType());
          assertEquals(a.outputDType(), a.gradientDType());
          ta.run();
          tb.run();
          assertArrayEquals(ta.dx.toBytes(), tb.dx.toBytes(), b.toString());
          assertArrayEquals(ta.dweight.toBytes(), tb.dweight.toBytes(), b.toString());
          assertArrayEquals(ta.dbias.toBytes(), tb.dbias.toBytes(), b.toString());
        }
      }
    }
  }

  @Test
  void amaxIsTheMaximumOfAllCalls() {
    try (Norm norm =
            RmsNorm.builder(40)
                .input(FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .output(FLOAT8_E4M3)
                .outputScaling(Fp8Scaling.TENSOR)
                .build();
        NormTensors a = new NormTensors(norm, 8, false, Layout.DENSE, 1);
        NormTensors b = new NormTensors(norm, 8, false, Layout.DENSE, 2)) {
      norm.infer(a.operands());
      norm.infer(b.operands());
      float of = Math.max(a.yAmax.toFloats()[0], b.yAmax.toFloats()[0]);
      norm.infer(a.operands().yAmax(b.yAmax));
      assertEquals(of, b.yAmax.toFloats()[0]);
      b.yAmax.copyFrom(new float[] {1e6f});
      norm.infer(a.operands().yAmax(b.yAmax));
      assertEquals(1e6f, b.yAmax.toFloats()[0]);
      // Without amax the results are the same.
      byte[] expected = a.y.toBytes();
      a.y.copyFrom(new float[8 * 40]);
      norm.infer(a.operands().yAmax(null));
      assertArrayEquals(expected, a.y.toBytes());
    }
  }

  @ParameterizedTest
  @MethodSource("ways")
  void zeroRows(Way way) {
    Norm.Builder<?> builder = RmsNorm.builder(40).input(FLOAT32).policy(NormPolicy.PYTORCH);
    try (Norm norm = way.on(builder).build();
        NormTensors t = new NormTensors(norm, 0, false, Layout.DENSE, 1)) {
      norm.infer(t.operands());
      if (t.yAmax != null) {
        assertEquals(0, t.yAmax.toFloats()[0]);
      }
    }
  }

  @Test
  void inconsistentSettingsAreRefused() {
    assertNotBuilt(
        "outputScaling: not set; expected how to scale an output in FLOAT8_E4M3",
        b -> b.output(FLOAT8_E4M3));
    assertNotBuilt(
        "outputScaling: ROW; expected none, because the output's dtype is FLOAT32, not FP8",
        b -> b.output(FLOAT32).outputScaling(Fp8Scaling.ROW));
    assertNotBuilt(
        "outputScaling: BLOCK; expected none, because the output's dtype is the policy's own",
        b -> b.outputScaling(Fp8Scaling.BLOCK));
    assertNotBuilt("gradient: FLOAT32; expected none", b -> b.gradient(FLOAT32));
    assertNotBuilt("gradient: FLOAT32; expected none", b -> b.output(BFLOAT16).gradient(FLOAT32));
    assertNotBuilt(
        "powerOfTwoScales: true; expected it with outputScaling ROW only, which is TENSOR",
        b -> b.output(FLOAT8_E4M3).outputScaling(Fp8Scaling.TENSOR).powerOfTwoScales(true));
    assertNotBuilt(
        "powerOfTwoScales: true; expected it with outputScaling ROW only, which is not set",
        b -> b.powerOfTwoScales(true));
    RmsNorm.Builder builder = RmsNorm.builder(4);
    assertThrows(NullPointerException.class, () -> builder.outputScaling(null));
    assertThrows(NullPointerException.class, () -> builder.gradient(null));
  }

  private static void assertNotBuilt(String text, Consumer<RmsNorm.Builder> settings) {
    RmsNorm.Builder builder = RmsNorm.builder(4).input(BFLOAT16).policy(NormPolicy.PYTORCH);
    settings.accept(builder);
    String message = assertThrows(IllegalStateException.class, builder::build).getMessage();
    assertTrue(message.startsWith(text), message);
  }

  @Test
  void gettersReturnSettings() {
    try (Norm norm =
            RmsNorm.builder(4)
                .input(BFLOAT16)
                .policy(NormPolicy.PYTORCH)
                .output(FLOAT8_E4M3)
                .outputScaling(Fp8Scaling.ROW)
                .powerOfTwoScales(true)
                .build();
        Norm plain = RmsNorm.builder(4).input(BFLOAT16).policy(NormPolicy.PYTORCH).build()) {
      assertEquals(FLOAT8_E4M3, norm.outputDType());
      assertEquals(BFLOAT16, norm.gradientDType());
      assertEquals(Fp8Scaling.ROW, norm.outputScaling());
      assertTrue(norm.powerOfTwoScales());
      assertTrue(
          norm.toString()
              .contains(
                  "output=FLOAT8_E4M3, outputScaling=ROW in powers of two, gradient=BFLOAT16"),
          norm.toString());
      assertNull(plain.outputScaling());
      assertTrue(!plain.toString().contains("gradient"), plain.toString());
    }
  }

  /** Each exception names the argument, its value and the expectation; nothing is written. */
  @Test
  void mismatchedScalesAreRefused() {
    for (Way way : ways()) {
      Norm.Builder<?> builder = RmsNorm.builder(40).input(FLOAT32).policy(NormPolicy.PYTORCH);
      try (Arena arena = new Arena();
          Norm norm = way.on(builder).build();
          NormTensors t = new NormTensors(norm, 3, false, Layout.DENSE, 1)) {
        Operands good = t.operands();
        TensorView number = arena.tensor(FLOAT32, 1);
        if (way.scaling == Fp8Scaling.TENSOR) {
          refused(
              norm, t, good.yScale(null), "yScale: null; expected a tensor, by Operands.yScale");
          refused(
              norm,
              t,
              good.yScale(arena.tensor(FLOAT64, 1)),
              "yScale: dtype FLOAT64; expected FLOAT32");
          refused(norm, t, good.yScale(arena.tensor(FLOAT32, 2)), "yScale: ", "expected 1 element");
          refused(
              norm, t, good.yAmax(arena.tensor(FLOAT32, 3, 1)), "yAmax: ", "expected 1 element");
          refused(
              norm,
              t,
              good.yAmax(arena.tensor(BFLOAT16, 1)),
              "yAmax: dtype BFLOAT16; expected FLOAT32");
          refused(norm, t, good.yAmax(t.yScale), "yAmax", "yScale", "memory of its own");
          refused(
              norm,
              t,
              good.yAmax(arena.tensor(2, 0, FLOAT32, 1)),
              "yAmax: address",
              "multiple of 4");
          refused(
              norm,
              t,
              good.yScale(arena.tensor(1, 0, FLOAT32, 1)),
              "yScale: address",
              "multiple of 4");
          refused(
              norm,
              t,
              good.yScaleInv(number),
              "yScaleInv: given as",
              "is " + way.format + " with scaling TENSOR");
          TensorView inX = TensorView.ofAddress(t.x.address(), FLOAT32, Device.CPU, 1);
          refused(norm, t, good.yAmax(inX), "yAmax", "x", "memory of its own");
          String bare =
              assertThrows(
                      IllegalArgumentException.class,
                      () -> ((RmsNorm) norm).infer(t.x, t.weight, t.y))
                  .getMessage();
          assertTrue(bare.endsWith("by Operands.yScale"), bare);
        } else {
          refused(norm, t, good.yScale(number), "yScale: given as", "with scaling " + way.scaling);
          refused(norm, t, good.yAmax(number), "yAmax: given as", "with scaling " + way.scaling);
          refused(
              norm,
              t,
              good.yScaleInv(null),
              "yScaleInv: null; expected a tensor, by Operands.yScaleInv");
        }
        if (way.scaling == Fp8Scaling.ROW) {
          refused(
              norm,
              t,
              good.yScaleInv(arena.tensor(FLOAT32, 4)),
              "yScaleInv: ",
              "expected 3 elements, one for each row");
          refused(
              norm,
              t,
              good.yScaleInv(arena.tensor(FLOAT8_E8M0, 3)),
              "yScaleInv: dtype FLOAT8_E8M0; expected FLOAT32");
          refused(
              norm,
              t,
              good.yScaleInv(arena.tensor(0, 1, FLOAT32, 3, 1)),
              "yScaleInv: ",
              "has gaps");
          refused(
              norm,
              t,
              good.yScaleInv(arena.tensor(2, 0, FLOAT32, 3)),
              "yScaleInv: address",
              "multiple of 4");
          TensorView inY = TensorView.ofAddress(t.y.address(), FLOAT32, Device.CPU, 3);
          refused(norm, t, good.yScaleInv(inY), "yScaleInv", "y", "memory of its own");
        }
        if (way.scaling == Fp8Scaling.BLOCK) {
          refused(
              norm,
              t,
              good.yScaleInv(arena.tensor(FLOAT8_E8M0, 3)),
              "yScaleInv: ",
              "expected 6 elements, one for each 32 elements");
          refused(
              norm,
              t,
              good.yScaleInv(arena.tensor(FLOAT32, 3, 2)),
              "yScaleInv: dtype FLOAT32; expected FLOAT8_E8M0");
        }
        refused(
            norm,
            t,
            Operands.of(t.x, arena.tensor(FLOAT32, 3, 40)).weight(t.weight),
            "y: dtype FLOAT32; expected " + way.format);
        TensorView closed;
        try (NativeBuffer buffer = NativeBuffer.allocate(FLOAT32, 3, 2)) {
          closed =
              buffer.view(
                  way.scaling == Fp8Scaling.BLOCK ? FLOAT8_E8M0 : FLOAT32,
                  way.scaling == Fp8Scaling.TENSOR
                      ? new long[] {1}
                      : new long[] {3, way.scaling == Fp8Scaling.BLOCK ? 2 : 1});
        }
        Operands gone =
            way.scaling == Fp8Scaling.TENSOR ? good.yScale(closed) : good.yScaleInv(closed);
        refused(
            norm, t, gone, way.scaling == Fp8Scaling.TENSOR ? "yScale: " : "yScaleInv: ", "closed");
      }
    }
  }

  @Test
  void scalesNeedAnFp8Output() {
    try (Arena arena = new Arena();
        Norm norm = RmsNorm.builder(8).input(FLOAT32).policy(NormPolicy.PYTORCH).build();
        NormTensors t = new NormTensors(norm, 2, false, Layout.DENSE, 1)) {
      TensorView number = arena.tensor(FLOAT32, 1);
      String why = "expected none, because the norm's output is FLOAT32";
      refused(norm, t, t.operands().yScale(number), "yScale: given as", why);
      refused(norm, t, t.operands().yAmax(number), "yAmax: given as", why);
      refused(norm, t, t.operands().yScaleInv(number), "yScaleInv: given as", why);
    }
  }

  private static void refused(Norm norm, NormTensors t, Operands operands, String... texts) {
    List<byte[]> before = t.results();
    List<Runnable> calls =
        List.of(
            () -> norm.infer(operands),
            () -> norm.forward(operands).close(),
            () -> {
              try (Saved saved = norm.newSaved(8)) {
                norm.forward(operands, saved);
              }
            },
            () -> {
              try (NativeBuffer rstd = NativeBuffer.allocate(FLOAT32, 3)) {
                long rows = t.x.size(0);
                norm.forward(operands, null, rstd.view(FLOAT32, rows));
              }
            });
    for (Runnable call : calls) {
      String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
      for (String text : texts) {
        assertTrue(message.contains(text), message);
      }
    }
    t.assertResults(before, "refused " + operands);
  }
}
