package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.Arena;
import org.normcore.testing.Bits;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;
import org.normcore.testing.Reference;
import org.normcore.testing.Values;

/**
 * Every form of a call computes its formula, with each tensor in its role.
 *
 * <p>The tolerance is a few roundings to the coarsest format involved, relative to the largest
 * value of the tensor (for weight and bias, of the terms of the sums). A swapped or missing tensor
 * causes a far larger error. Other tests check the roundings bit for bit.
 */
class NormTest {
  private static final DType[] TYPES = {FLOAT64, FLOAT32, BFLOAT16, FLOAT16};

  private static double tolerance(DType... types) {
    double tolerance = 0;
    for (DType type : types) {
      tolerance = Math.max(tolerance, Bits.ulp(type, 1));
    }
    return 4 * tolerance;
  }

  private static void assertNear(
      String what, double[] expected, TensorView actual, double tolerance) {
    double[] values = actual.toDoubles();
    assertEquals(expected.length, values.length, what);
    double largest = 1;
    for (double value : expected) {
      largest = Math.max(largest, Math.abs(value));
    }
    for (int i = 0; i < values.length; i++) {
      if (!(Math.abs(values[i] - expected[i]) <= tolerance * largest)) {
        fail("%s[%d]: %s, expected %s".formatted(what, i, values[i], expected[i]));
      }
    }
  }

  private static double[] doubles(TensorView view) {
    return view == null ? null : view.toDoubles();
  }

  private static void assertResults(String what, Norm norm, NormTensors t, double tolerance) {
    int n = (int) norm.hiddenSize();
    // The reference starts from the stored sum, whose rounding is checked separately.
    TensorView source = t.residualOut == null ? t.x : t.residualOut;
    if (t.residualOut != null) {
      double[] sum = t.x.toDoubles();
      double[] residual = t.residual.toDoubles();
      for (int i = 0; i < sum.length; i++) {
        sum[i] += residual[i];
      }
      assertNear(what + " residualOut", sum, t.residualOut, tolerance);
    }
    GammaOffset offset = norm.policy().gammaOffset();
    double[] weight = doubles(t.weight);
    Reference.Forward forward =
        Reference.forward(
            norm.kind(), n, norm.epsilon(), offset, source.toDoubles(), weight, doubles(t.bias));
    Reference.Backward backward =
        Reference.backward(norm.kind(), n, offset, forward, weight, t.dy.toDoubles());
    assertNear(what + " y", forward.y(), t.y, tolerance);
    double[] dx = backward.dx();
    if (t.dresidual != null) {
      double[] incoming = t.dresidual.toDoubles();
      for (int i = 0; i < dx.length; i++) {
        dx[i] += incoming[i];
      }
    }
    assertNear(what + " dx", dx, t.dx, tolerance);
    if (t.dweight != null) {
      assertNear(what + " dweight", backward.dweight(), t.dweight, 4 * tolerance);
    }
    if (t.dbias != null) {
      assertNear(what + " dbias", backward.dbias(), t.dbias, 4 * tolerance);
    }
  }

  /** All dtypes of input, weight and output, with each rounding, both norms, all affine forms. */
  @ParameterizedTest
  @EnumSource
  void everyCombinationOfDTypes(NormKind kind) {
    int n = 21;
    int rows = 5;
    long seed = 0;
    for (DType input : TYPES) {
      for (DType weight : TYPES) {
        for (DType output : TYPES) {
          for (ScaleRounding rounding : ScaleRounding.values()) {
            for (Affine affine : Affine.values()) {
              NormPolicy policy =
                  NormPolicy.builder(rounding)
                      .gammaOffset(GammaOffset.values()[(int) (seed % 3)])
                      .compute(ComputeType.values()[(int) (seed / 3 % 2)])
                      .build();
              try (Norm norm =
                      NormTensors.builder(kind, n, input, weight, affine, policy)
                          .output(output)
                          .build();
                  NormTensors t =
                      new NormTensors(norm, rows, seed % 5 == 0, Layout.DENSE, ++seed)) {
                t.run();
                String what = norm + " seed " + seed;
                assertResults(
                    what, norm, t, tolerance(input, weight, output, norm.statisticsDType()));
                t.assertGuards();
                byte[] trained = t.y.toBytes();
                norm.infer(t.operands());
                assertArrayEquals(trained, t.y.toBytes(), what);
              }
            }
          }
        }
      }
    }
  }

  /** Hidden sizes from 1 to 2^20, no row to 37 rows. */
  @ParameterizedTest
  @EnumSource
  void unusualSizes(NormKind kind) {
    for (int n : new int[] {1, 7, 8, 9, 31, 229, 769, 4096, 65537, 262144, 1 << 20}) {
      for (int rows : new int[] {0, 1, 2, 37}) {
        if ((long) rows * n > 1 << 21) {
          continue;
        }
        for (DType input : new DType[] {FLOAT32, BFLOAT16}) {
          try (Norm norm =
                  NormTensors.builder(
                          kind, n, input, FLOAT32, Affine.WEIGHT_AND_BIAS, NormPolicy.PYTORCH)
                      .build();
              NormTensors t = new NormTensors(norm, rows, false, Layout.DENSE, n + rows)) {
            t.run();
            assertResults(rows + " rows of " + norm, norm, t, 4 * tolerance(input));
            t.assertGuards();
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void severalNormalizedDimensions(NormKind kind) {
    try (Arena arena = new Arena();
        Norm flat =
            NormTensors.builder(
                    kind, 60, FLOAT32, FLOAT32, Affine.WEIGHT_AND_BIAS, NormPolicy.PYTORCH)
                .build();
        Norm norm =
            NormTensors.builder(kind, 3, 4, 5)
                .input(FLOAT32)
                .affine(Affine.WEIGHT_AND_BIAS)
                .policy(NormPolicy.PYTORCH)
                .build();
        NormTensors t = new NormTensors(flat, 14, true, Layout.DENSE, 3)) {
      t.run();
      List<byte[]> expected = t.results();
      assertArrayEquals(new long[] {3, 4, 5}, norm.normalizedShape());
      assertEquals(60, norm.hiddenSize());
      long[] shape = {2, 7, 3, 4, 5};
      TensorView y = arena.tensor(FLOAT32, shape);
      TensorView sum = arena.tensor(FLOAT32, shape);
      TensorView dx = arena.tensor(FLOAT32, shape);
      TensorView dweight = arena.tensor(FLOAT32, 3, 4, 5);
      TensorView dbias = arena.tensor(FLOAT32, 3, 4, 5);
      Operands operands =
          Operands.of(t.x.reshape(shape), y)
              .weight(t.weight.reshape(3, 4, 5))
              .bias(t.bias.reshape(3, 4, 5))
              .residual(t.residual.reshape(shape), sum);
      try (Saved saved = norm.forward(operands)) {
        assertEquals(14, saved.rows());
        norm.backward(
            saved,
            t.dy.reshape(shape),
            Gradients.of(dx)
                .weight(dweight, GradientMode.WRITE)
                .bias(dbias, GradientMode.WRITE)
                .residual(t.dresidual.reshape(shape)));
      }
      List<TensorView> actual = List.of(sum, y, dx, dweight, dbias);
      for (int i = 0; i < actual.size(); i++) {
        assertArrayEquals(expected.get(i), actual.get(i).toBytes());
      }
      arena.assertGuards();
    }
  }

  /** Statistics in ordinary buffers give the bits that a Saved gives. */
  @ParameterizedTest
  @EnumSource
  void statisticsInOrdinaryBuffers(NormKind kind) {
    for (ComputeType compute : ComputeType.values()) {
      NormPolicy policy = NormPolicy.HUGGING_FACE_LLAMA.toBuilder().compute(compute).build();
      try (Arena arena = new Arena();
          Norm norm =
              NormTensors.builder(kind, 50, BFLOAT16, FLOAT32, Affine.WEIGHT_AND_BIAS, policy)
                  .build();
          NormTensors t = new NormTensors(norm, 9, true, Layout.DENSE, 4);
          NativeBuffer workspace =
              NativeBuffer.allocate(norm.backwardWorkspaceBytes(9, t.gradients()));
          Saved saved = norm.forward(t.operands())) {
        norm.backward(saved, t.dy, t.gradients());
        List<byte[]> expected = t.results();
        DType statistics = compute.dtype();
        assertEquals(statistics, norm.statisticsDType());
        // Any shape with one number per row is valid.
        TensorView rstd = arena.tensor(statistics, 3, 3, 1);
        TensorView mean = kind == NormKind.LAYER_NORM ? arena.tensor(statistics, 9) : null;
        norm.forward(t.operands(), mean, rstd);
        assertArrayEquals(saved.rstd().toBytes(), rstd.toBytes());
        if (mean != null) {
          assertArrayEquals(saved.mean().toBytes(), mean.toBytes());
        }
        t.dx.copyFrom(new float[9 * 50]);
        norm.backward(t.residualOut, t.weight, mean, rstd, t.dy, t.gradients(), workspace);
        List<byte[]> actual = t.results();
        for (int i = 0; i < expected.size(); i++) {
          assertArrayEquals(expected.get(i), actual.get(i));
        }
        // Without gradients of weight and bias no workspace is needed.
        assertEquals(0, norm.backwardWorkspaceBytes(9, Gradients.of(t.dx)));
        norm.backward(t.residualOut, t.weight, mean, rstd, t.dy, Gradients.of(t.dx), null);
        arena.assertGuards();

        Reference.Forward reference =
            Reference.forward(
                kind, 50, 1e-5, GammaOffset.NONE, t.residualOut.toDoubles(), null, null);
        assertNear("rstd", reference.rstd(), rstd, 1e-5);
        if (mean != null) {
          assertNear("mean", reference.mean(), mean, 1e-5);
        }
      }
    }
  }

  /** Absent gradients are not computed; present gradients do not depend on the others. */
  @ParameterizedTest
  @EnumSource
  void gradientsByNameAndMode(NormKind kind) {
    int n = 40;
    int rows = 70;
    try (Arena arena = new Arena();
        Norm norm =
            NormTensors.builder(kind, n, BFLOAT16, BFLOAT16, Affine.WEIGHT_AND_BIAS, NormPolicy.T5)
                .build();
        NormTensors t = new NormTensors(norm, rows, false, Layout.DENSE, 6);
        Saved saved = norm.forward(t.operands())) {
      norm.backward(saved, t.dy, t.gradients());
      byte[] dx = t.dx.toBytes();
      TensorView exactWeight = arena.tensor(FLOAT32, n);
      TensorView exactBias = arena.tensor(FLOAT32, n);
      norm.backward(
          saved,
          t.dy,
          Gradients.none()
              .weight(exactWeight, GradientMode.WRITE)
              .bias(exactBias, GradientMode.WRITE));
      // The weight's dtype is the float32 sum, rounded once.
      assertArrayEquals(
          t.dweight.toBytes(), arena.tensor(BFLOAT16, n).copyFrom(exactWeight).toBytes());
      assertArrayEquals(t.dbias.toBytes(), arena.tensor(BFLOAT16, n).copyFrom(exactBias).toBytes());

      for (int present = 0; present < 8; present++) {
        for (GradientMode weightMode : GradientMode.values()) {
          for (GradientMode biasMode : GradientMode.values()) {
            TensorView ownDx = arena.tensor(BFLOAT16, rows, n);
            float[] start = new float[n];
            for (int i = 0; i < n; i++) {
              start[i] = i - 10;
            }
            TensorView ownWeight = arena.tensor(FLOAT32, n).copyFrom(start);
            TensorView ownBias = arena.tensor(FLOAT32, n).copyFrom(start);
            byte[] untouched = ownDx.toBytes();
            Gradients gradients = (present & 1) == 0 ? Gradients.none() : Gradients.of(ownDx);
            if ((present & 2) != 0) {
              gradients = gradients.weight(ownWeight, weightMode);
            }
            if ((present & 4) != 0) {
              gradients = gradients.bias(ownBias, biasMode);
            }
            norm.backward(saved, t.dy, gradients);
            String what = gradients.toString();
            assertArrayEquals((present & 1) == 0 ? untouched : dx, ownDx.toBytes(), what);
            assertSum(what, (present & 2) != 0, weightMode, start, exactWeight, ownWeight);
            assertSum(what, (present & 4) != 0, biasMode, start, exactBias, ownBias);
          }
        }
      }
      arena.assertGuards();
      t.assertGuards();
    }
  }

  private static void assertSum(
      String what,
      boolean present,
      GradientMode mode,
      float[] start,
      TensorView sum,
      TensorView actual) {
    float[] expected = start.clone();
    float[] added = sum.toFloats();
    for (int i = 0; present && i < expected.length; i++) {
      expected[i] = mode == GradientMode.WRITE ? added[i] : start[i] + added[i];
    }
    assertArrayEquals(expected, actual.toFloats(), what);
  }

  @ParameterizedTest
  @EnumSource
  void zeroRows(NormKind kind) {
    try (Arena arena = new Arena();
        Norm norm =
            NormTensors.builder(
                    kind, 8, FLOAT32, FLOAT32, Affine.WEIGHT_AND_BIAS, NormPolicy.PYTORCH)
                .build();
        NormTensors t = new NormTensors(norm, 0, true, Layout.DENSE, 1)) {
      t.run();
      assertArrayEquals(new float[8], t.dweight.toFloats());
      assertArrayEquals(new float[8], t.dbias.toFloats());
      float[] kept = {1, 2, 3, 4, 5, 6, 7, 8};
      TensorView dweight = arena.tensor(FLOAT32, 8).copyFrom(kept);
      try (Saved saved = norm.forward(t.operands())) {
        norm.backward(saved, t.dy, Gradients.of(t.dx).weight(dweight, GradientMode.ACCUMULATE));
      }
      assertArrayEquals(kept, dweight.toFloats());
      norm.infer(t.operands());
      t.assertGuards();
    }
  }

  /** Permitted in-place calls give the same bits as calls with separate tensors. */
  @ParameterizedTest
  @EnumSource
  void inPlace(NormKind kind) {
    NormPolicy policy = NormPolicy.HUGGING_FACE_LLAMA;
    for (DType dtype : TYPES) {
      for (Layout layout : List.of(Layout.DENSE, new Layout(3, 5))) {
        try (Norm norm =
            NormTensors.builder(kind, 37, dtype, dtype, Affine.WEIGHT_AND_BIAS, policy).build()) {
          List<byte[]> plain;
          List<byte[]> fused;
          try (NormTensors t = new NormTensors(norm, 6, false, layout, 2);
              Saved saved = norm.forward(t.operands())) {
            norm.backward(saved, t.dy, t.gradients());
            plain = t.results();
          }
          try (NormTensors t = new NormTensors(norm, 6, true, layout, 2);
              Saved saved = norm.forward(t.operands())) {
            norm.backward(saved, t.dy, t.gradients());
            fused = t.results();
          }
          try (NormTensors t = new NormTensors(norm, 6, false, layout, 2)) {
            norm.infer(Operands.of(t.x, t.x).weight(t.weight).bias(t.bias));
            assertArrayEquals(plain.get(0), t.x.toBytes(), "y over x");
            t.assertGuards();
          }
          try (NormTensors t = new NormTensors(norm, 6, true, layout, 2)) {
            norm.infer(
                Operands.of(t.x, t.x)
                    .weight(t.weight)
                    .bias(t.bias)
                    .residual(t.residual, t.residual));
            assertArrayEquals(fused.get(0), t.residual.toBytes(), "residualOut over residual");
            assertArrayEquals(fused.get(1), t.x.toBytes(), "y over x");
            t.assertGuards();
          }
          // dx in place of dy, of x, of dresidual.
          List<String> places = List.of("dy", "x", "dresidual");
          for (String place : places) {
            try (NormTensors t = new NormTensors(norm, 6, true, layout, 2);
                Saved saved =
                    norm.forward(
                        Operands.of(t.x, t.residual)
                            .weight(t.weight)
                            .bias(t.bias)
                            .residual(t.residual, t.x))) {
              assertArrayEquals(fused.get(0), t.x.toBytes(), "residualOut over x");
              assertArrayEquals(fused.get(1), t.residual.toBytes(), "y over residual");
              TensorView dx = place.equals("dy") ? t.dy : place.equals("x") ? t.x : t.dresidual;
              norm.backward(
                  saved,
                  t.dy,
                  Gradients.of(dx)
                      .weight(t.dweight, GradientMode.WRITE)
                      .bias(t.dbias, GradientMode.WRITE)
                      .residual(t.dresidual));
              assertArrayEquals(fused.get(2), dx.toBytes(), "dx over " + place);
              assertArrayEquals(fused.get(3), t.dweight.toBytes(), "dx over " + place);
              assertArrayEquals(fused.get(4), t.dbias.toBytes(), "dx over " + place);
              t.assertGuards();
            }
          }
        }
      }
    }
  }

  /** Special values stay in their row. */
  @ParameterizedTest
  @EnumSource
  void specialValuesStayInTheirRow(NormKind kind) {
    int n = 33;
    for (DType dtype : TYPES) {
      try (Norm norm =
          NormTensors.builder(
                  kind, n, dtype, dtype, Affine.WEIGHT_AND_BIAS, NormPolicy.HUGGING_FACE_LLAMA)
              .build()) {
        List<byte[]> clean = new ArrayList<>();
        try (NormTensors t = new NormTensors(norm, 5, false, Layout.DENSE, 8)) {
          t.run();
          for (int row : new int[] {0, 1, 3, 4}) {
            clean.addAll(t.rowResults(row, row + 1));
          }
        }
        for (double special :
            new double[] {
              Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 65504, 6e-8, 0
            }) {
          try (NormTensors t = new NormTensors(norm, 5, false, Layout.DENSE, 8)) {
            double[] row = Values.normal(1, n);
            if (Math.abs(special) < 1 || special == 65504) {
              Arrays.fill(row, special);
            } else {
              row[n / 2] = special;
            }
            t.x.rows(2, 3).copyFrom(row);
            t.run();
            List<byte[]> actual = new ArrayList<>();
            for (int other : new int[] {0, 1, 3, 4}) {
              actual.addAll(t.rowResults(other, other + 1));
            }
            for (int i = 0; i < clean.size(); i++) {
              assertArrayEquals(clean.get(i), actual.get(i), dtype + " " + special);
            }
            for (double value : t.y.rows(2, 3).toDoubles()) {
              // An infinite sum makes rstd 0, and the infinity itself 0 * infinity.
              boolean finite = Double.isFinite(value);
              assertTrue(
                  finite || !(Math.abs(special) <= 65504), dtype + " " + special + ": " + value);
            }
            assertTrue(
                !Double.isNaN(special) || Double.isNaN(t.y.rows(2, 3).toDoubles()[0]),
                "NaN reaches its whole row");
          }
        }
      }
    }
  }

  /** Without weight and bias the weight's dtype is the input's, regardless of the option. */
  @ParameterizedTest
  @EnumSource
  void weightDTypeOfNormsWithoutWeight(NormKind kind) {
    for (NormPolicy policy : List.of(NormPolicy.T5, NormPolicy.DEBERTA, NormPolicy.PYTORCH)) {
      try (Norm plain =
              NormTensors.builder(kind, 64)
                  .input(BFLOAT16)
                  .affine(Affine.NONE)
                  .policy(policy)
                  .build();
          Norm asked =
              NormTensors.builder(kind, 64)
                  .affine(Affine.NONE)
                  .input(BFLOAT16)
                  .weight(FLOAT32)
                  .policy(policy)
                  .build();
          NormTensors t = new NormTensors(plain, 3, false, Layout.DENSE, 1)) {
        assertEquals(BFLOAT16, asked.weightDType());
        assertEquals(BFLOAT16, asked.outputDType());
        t.run();
        List<byte[]> expected = t.results();
        t.clear();
        t.run(asked);
        t.assertResults(expected, policy.name());
      }
    }
  }

  @Test
  void convenienceMethodsGiveTheSameBits() {
    NormPolicy policy = NormPolicy.PYTORCH;
    try (RmsNorm rms = RmsNorm.builder(12).input(FLOAT32).policy(policy).build();
        LayerNorm layer = LayerNorm.builder(12).input(FLOAT32).policy(policy).build();
        NormTensors r = new NormTensors(rms, 3, false, Layout.DENSE, 1);
        NormTensors l = new NormTensors(layer, 3, false, Layout.DENSE, 1)) {
      assertEquals(Affine.WEIGHT, rms.affine());
      assertEquals(Affine.WEIGHT_AND_BIAS, layer.affine());
      assertEquals(1e-5, rms.epsilon());
      rms.infer(r.operands());
      byte[] expected = r.y.toBytes();
      r.y.copyFrom(new float[36]);
      rms.infer(r.x, r.weight, r.y);
      assertArrayEquals(expected, r.y.toBytes());
      r.y.copyFrom(new float[36]);
      rms.forward(r.x, r.weight, r.y).close();
      assertArrayEquals(expected, r.y.toBytes());

      layer.infer(l.operands());
      expected = l.y.toBytes();
      l.y.copyFrom(new float[36]);
      layer.infer(l.x, l.weight, l.bias, l.y);
      assertArrayEquals(expected, l.y.toBytes());
      l.y.copyFrom(new float[36]);
      layer.forward(l.x, l.weight, l.bias, l.y).close();
      assertArrayEquals(expected, l.y.toBytes());
    }
  }
}
