package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.frameworks.Nd4j.view;
import static org.normcore.frameworks.Near.assertNear;
import static org.normcore.frameworks.Near.assertRefused;

import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.nd4j.autodiff.samediff.SDVariable;
import org.nd4j.autodiff.samediff.SameDiff;
import org.nd4j.linalg.api.buffer.DataType;
import org.nd4j.linalg.api.memory.MemoryWorkspace;
import org.nd4j.linalg.api.ndarray.INDArray;
import org.nd4j.linalg.api.ops.impl.transforms.custom.LayerNormBp;
import org.nd4j.linalg.factory.Nd4j;
import org.nd4j.linalg.indexing.NDArrayIndex;
import org.normcore.DType;
import org.normcore.GammaOffset;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.testing.Reference;
import org.normcore.testing.Values;

/** ND4J on the CPU. */
@Tag("other-frameworks")
class Nd4jTest {
  private static final int ROWS = 6;
  private static final int N = 77;
  private static final double FLOAT = 16 * Near.step(DType.FLOAT32);
  private static final Map<DataType, DType> TYPES =
      Map.of(
          DataType.DOUBLE, DType.FLOAT64,
          DataType.FLOAT, DType.FLOAT32,
          DataType.FLOAT16, DType.FLOAT16,
          DataType.BFLOAT16, DType.BFLOAT16);

  /** ND4J's LayerNorm has no epsilon, so ours uses 0. */
  @Test
  void layerNormIsNd4jsOwn() {
    INDArray x = normal(DataType.FLOAT, 1, ROWS, N);
    INDArray weight = normal(DataType.FLOAT, 2, N);
    INDArray bias = normal(DataType.FLOAT, 3, N);
    INDArray dy = normal(DataType.FLOAT, 4, ROWS, N);
    INDArray y = x.ulike();
    INDArray dx = x.ulike();
    INDArray dweight = weight.ulike();
    INDArray dbias = bias.ulike();

    try (LayerNorm norm =
            LayerNorm.builder(N)
                .epsilon(0)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build();
        Saved saved = norm.forward(view(x), view(weight), view(bias), view(y))) {
      norm.backward(
          saved,
          view(dy),
          Gradients.of(view(dx))
              .weight(view(dweight), GradientMode.WRITE)
              .bias(view(dbias), GradientMode.WRITE));
    }

    INDArray theirY = x.ulike();
    INDArray theirDx = x.ulike();
    INDArray theirDweight = weight.ulike();
    INDArray theirDbias = bias.ulike();
    nd4jLayerNorm(x, weight, bias, theirY);
    Nd4j.exec(new LayerNormBp(x, weight, bias, dy, theirDx, theirDweight, theirDbias, false, 1));
    assertNear(doubles(theirY), doubles(y), FLOAT);
    assertNear(doubles(theirDx), doubles(dx), FLOAT);
    assertNear(doubles(theirDweight), doubles(dweight), FLOAT);
    assertNear(doubles(theirDbias), doubles(dbias), FLOAT);
  }

  @Test
  void epsilonIsFree() {
    double epsilon = 1e-5;
    INDArray x = normal(DataType.FLOAT, 1, ROWS, N).muli(1e-3);
    INDArray weight = Nd4j.ones(DataType.FLOAT, N);
    INDArray bias = Nd4j.zeros(DataType.FLOAT, N);
    INDArray y = x.ulike();
    try (LayerNorm norm =
        LayerNorm.builder(N)
            .epsilon(epsilon)
            .input(DType.FLOAT32)
            .policy(NormPolicy.PYTORCH)
            .build()) {
      norm.infer(view(x), view(weight), view(bias), view(y));
    }
    Reference.Forward expected =
        Reference.forward(
            NormKind.LAYER_NORM, N, epsilon, GammaOffset.NONE, doubles(x), null, null);
    assertNear(expected.y(), doubles(y), FLOAT);

    INDArray theirs = x.ulike();
    nd4jLayerNorm(x, weight, bias, theirs);
    assertTrue(theirs.sub(y).amaxNumber().doubleValue() > 1);
  }

  /** RMSNorm, which ND4J lacks, in each of its types of floating-point numbers. */
  @Test
  void rmsNormInEveryType() {
    double epsilon = 1e-6;
    TYPES.forEach(
        (type, dtype) -> {
          INDArray x = normal(type, 1, ROWS, N);
          INDArray weight = normal(type, 2, N);
          INDArray dy = normal(type, 3, ROWS, N);
          INDArray y = x.ulike();
          INDArray dx = x.ulike();
          INDArray dweight = weight.ulike();
          Near.assertRmsNorm(
              epsilon, view(x), view(weight), view(dy), view(y), view(dx), view(dweight));
        });
  }

  /**
   * RMSNorm between two SameDiff graphs: dy is the gradient of the second graph's variable {@code
   * y}, and the loss {@code sum(x * dx)} propagates dx through the first graph. The gradients equal
   * those of one graph with a composed norm.
   */
  @Test
  void gradientsPropagateThroughRmsNorm() {
    double epsilon = 1e-6;
    INDArray input = normal(DataType.FLOAT, 1, ROWS, N);
    INDArray target = normal(DataType.FLOAT, 2, ROWS, 1);
    INDArray w = normal(DataType.FLOAT, 3, N, N).mul(0.1);
    INDArray weight = normal(DataType.FLOAT, 4, N);
    INDArray v = normal(DataType.FLOAT, 5, N, 1).mul(0.1);
    INDArray dx = input.ulike();
    INDArray dweight = weight.ulike();

    SameDiff before = SameDiff.create();
    SDVariable x = before.constant("in", input).mmul("x", before.var("w", w));
    before.setLossVariables(x.mul(before.placeHolder("dx", DataType.FLOAT, ROWS, N)).sum());
    SameDiff after = SameDiff.create();
    SDVariable y = after.var("y", input.ulike());
    loss(after, y, v, target);

    try (RmsNorm norm =
            RmsNorm.builder(N)
                .epsilon(epsilon)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build();
        Saved saved =
            norm.forward(
                view(before.output(Map.of(), "x").get("x").dup('c')),
                view(weight),
                view(y.getArr()))) {
      INDArray dy = after.calculateGradients(Map.of(), "y").get("y");
      norm.backward(
          saved,
          view(dy.dup('c')),
          Gradients.of(view(dx)).weight(view(dweight), GradientMode.WRITE));
    }
    INDArray dw = before.calculateGradients(Map.of("dx", dx), "w").get("w");

    SameDiff whole = SameDiff.create();
    SDVariable hidden = whole.constant("in", input).mmul(whole.var("w", w));
    SDVariable squares = whole.math().square(hidden).mean(true, 1);
    SDVariable normalised = hidden.div(whole.math().sqrt(squares.add(epsilon)));
    loss(whole, normalised.mul(whole.var("weight", weight)), v, target);
    Map<String, INDArray> theirs = whole.calculateGradients(Map.of(), "w", "weight");
    assertNear(doubles(theirs.get("w")), doubles(dw), FLOAT);
    assertNear(doubles(theirs.get("weight")), doubles(dweight), FLOAT);
    assertTrue(dw.amaxNumber().doubleValue() > 0.1, dw::toString);
  }

  private static void loss(SameDiff graph, SDVariable y, INDArray v, INDArray target) {
    SDVariable off = y.mmul(graph.constant("v", v)).sub(graph.constant("target", target));
    graph.setLossVariables(graph.math().square(off).mean("loss"));
  }

  @Test
  void viewIsTheArraysMemory() {
    TYPES.forEach(
        (type, dtype) -> {
          INDArray x = normal(type, 1, 3, 4, 5);
          Near.assertIsMemory(dtype, view(x), () -> doubles(x));
        });
  }

  @Test
  void everyOtherTypeIsRefused() {
    for (DataType type : DataType.values()) {
      if (!TYPES.containsKey(type)
          && !Set.of(DataType.COMPRESSED, DataType.UNKNOWN).contains(type)) {
        INDArray array = type == DataType.UTF8 ? Nd4j.create("a", "b") : Nd4j.create(type, 2, 2);
        assertRefused("of type " + type, () -> view(array));
      }
    }
  }

  @Test
  void partsOfArraysAreViewedInPlace() {
    INDArray all = normal(DataType.FLOAT, 1, 4, 5, 6);
    INDArray part =
        all.get(NDArrayIndex.interval(1, 3), NDArrayIndex.all(), NDArrayIndex.interval(2, 5));
    TensorView view = view(part);
    assertArrayEquals(new long[] {2, 5, 3}, view.shape());
    assertEquals(6, view.rowStride());
    assertArrayEquals(doubles(part), view.toDoubles());

    double[] before = doubles(all);
    view.copyFrom(new double[30]);
    int changed = 0;
    double[] after = doubles(all);
    for (int i = 0; i < after.length; i++) {
      boolean inside = i / 30 >= 1 && i / 30 < 3 && i % 6 >= 2 && i % 6 < 5;
      assertEquals(inside ? 0 : before[i], after[i]);
      changed += inside ? 1 : 0;
    }
    assertEquals(30, changed);

    INDArray everyOther =
        all.get(NDArrayIndex.interval(0, 2, 4), NDArrayIndex.point(2), NDArrayIndex.all());
    assertEquals(60, view(everyOther).rowStride());
    assertArrayEquals(doubles(everyOther), view(everyOther).toDoubles());
    INDArray column = Nd4j.createUninitialized(DataType.FLOAT, new long[] {4, 1}, 'f');
    assertArrayEquals(new long[] {4, 1}, view(column).shape());
  }

  @Test
  void scalarsAndEmptyArrays() {
    assertArrayEquals(new float[] {2.5f}, view(Nd4j.scalar(2.5f)).toFloats());
    assertArrayEquals(new long[0], view(Nd4j.scalar(2.5f)).shape());
    assertArrayEquals(new long[] {0}, view(Nd4j.empty(DataType.BFLOAT16)).shape());
    assertArrayEquals(new long[] {0, 7}, view(Nd4j.create(DataType.FLOAT, 0, 7)).shape());
  }

  @Test
  void nonContiguousRowsAreRefused() {
    INDArray all = normal(DataType.FLOAT, 1, 4, 5, 6);
    assertRefused("strides", () -> view(all.permute(0, 2, 1)));
    assertRefused(
        "strides", () -> view(Nd4j.createUninitialized(DataType.FLOAT, new long[] {3, 4}, 'f')));
    INDArray uneven =
        all.get(NDArrayIndex.all(), NDArrayIndex.interval(1, 3), NDArrayIndex.interval(1, 3));
    assertRefused(
        "array.strides: [30, 6, 1] with shape [4, 2, 2]; expected rows at equal distances:"
            + " 12 in dimension 0; call array.dup('c')",
        () -> view(uneven));
    assertArrayEquals(doubles(uneven), view(uneven.dup('c')).toDoubles());
    assertRefused(
        "strides",
        () ->
            view(
                all.get(
                    NDArrayIndex.point(0), NDArrayIndex.point(0), NDArrayIndex.interval(0, 2, 6))));
  }

  @Test
  void closedArraysAreRefused() {
    assertRefused("null", () -> view(null));

    INDArray array = Nd4j.createUninitialized(DataType.FLOAT, 2, 3);
    TensorView view = view(array);
    array.close();
    assertRefused("deallocated", view::toFloats);
    assertRefused("closed", () -> view(array));

    TensorView left;
    try (MemoryWorkspace workspace = Nd4j.getWorkspaceManager().getAndActivateWorkspace("norms")) {
      left = view(Nd4j.ones(DataType.FLOAT, 2, 3).get(NDArrayIndex.interval(1, 2)));
      assertArrayEquals(new float[] {1, 1, 1}, left.toFloats());
      assertTrue(workspace.isScopeActive());
    }
    assertRefused("deallocated", left::toFloats);
    try (MemoryWorkspace workspace = Nd4j.getWorkspaceManager().getAndActivateWorkspace("norms")) {
      assertTrue(workspace.isScopeActive());
      assertRefused("deallocated", left::toFloats);
    }
  }

  @Test
  void viewKeepsTheArray() throws InterruptedException {
    Near.assertKeptReachable(
        () -> Nd4j.ones(DataType.FLOAT, 2, 3), array -> view((INDArray) array));
  }

  /** Uses the operation directly: Nd4j.nn().layerNorm takes the bias for the output and fails. */
  private static void nd4jLayerNorm(INDArray x, INDArray weight, INDArray bias, INDArray y) {
    Nd4j.exec(
        new org.nd4j.linalg.api.ops.impl.transforms.custom.LayerNorm(x, weight, bias, y, false, 1));
  }

  private static INDArray normal(DataType type, long seed, long... shape) {
    long count = 1;
    for (long size : shape) {
      count *= size;
    }
    return Nd4j.createFromArray(Values.normal(seed, count)).castTo(type).reshape(shape);
  }

  private static double[] doubles(INDArray array) {
    return array.castTo(DataType.DOUBLE).dup('c').data().asDouble();
  }
}
