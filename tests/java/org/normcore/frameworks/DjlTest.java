package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.frameworks.Djl.view;
import static org.normcore.frameworks.Near.assertNear;
import static org.normcore.frameworks.Near.assertRefused;

import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.training.GradientCollector;
import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.testing.Values;

/**
 * DJL with its PyTorch engine on the CPU. That engine lacks bfloat16 and terminates the process on
 * a request for it, so a proxy simulates other engines for this dtype.
 */
@Tag("other-frameworks")
class DjlTest {
  private static final int ROWS = 6;
  private static final int N = 77;
  private static final double EPSILON = 1e-5;
  private static final double FLOAT = 16 * Near.step(DType.FLOAT32);
  private static final Map<DataType, DType> TYPES =
      Map.of(
          DataType.FLOAT64, DType.FLOAT64,
          DataType.FLOAT32, DType.FLOAT32,
          DataType.FLOAT16, DType.FLOAT16);

  private final NDManager manager = NDManager.newBaseManager("PyTorch");

  @AfterEach
  void close() {
    manager.close();
  }

  @Test
  void layerNormIsDjlsOwn() {
    TYPES.forEach(
        (type, dtype) -> {
          NDArray x = normal(type, 1, ROWS, N);
          NDArray weight = normal(type, 2, N);
          NDArray bias = normal(type, 3, N);
          NDArray dy = normal(type, 4, ROWS, N);
          NDArray y = like(x);
          NDArray dx = like(x);
          NDArray dweight = like(weight);
          NDArray dbias = like(bias);
          try (LayerNorm norm =
                  LayerNorm.builder(N)
                      .epsilon(EPSILON)
                      .input(dtype)
                      .policy(Near.policy(dtype))
                      .build();
              Saved saved = norm.forward(view(x), view(weight), view(bias), view(y))) {
            norm.backward(
                saved,
                view(dy),
                Gradients.of(view(dx))
                    .weight(view(dweight), GradientMode.WRITE)
                    .bias(view(dbias), GradientMode.WRITE));
          }

          x.setRequiresGradient(true);
          weight.setRequiresGradient(true);
          bias.setRequiresGradient(true);
          NDArray theirs;
          try (GradientCollector gradients = Engine.getEngine("PyTorch").newGradientCollector()) {
            theirs =
                x.getNDArrayInternal()
                    .layerNorm(x, new Shape(N), weight, bias, (float) EPSILON)
                    .singletonOrThrow();
            gradients.backward(theirs.mul(dy).sum());
          }
          double tolerance = (dtype.bytes() == 2 ? 1 : 32) * Near.step(dtype);
          // The engine's epsilon is a float.
          tolerance = Math.max(tolerance, 1e-12);
          assertNear(doubles(theirs), doubles(y), tolerance);
          assertNear(doubles(x.getGradient()), doubles(dx), tolerance);
          // PyTorch sums the columns of 16-bit types with more roundings.
          double sums = dtype.bytes() == 2 ? 4 * tolerance : tolerance;
          assertNear(doubles(weight.getGradient()), doubles(dweight), sums);
          assertNear(doubles(bias.getGradient()), doubles(dbias), sums);
        });
  }

  /**
   * RMSNorm, which DJL lacks, in the middle of a model: DJL computes the gradients after it and,
   * from its dx, the gradients before it. They equal those of a norm composed in DJL.
   */
  @Test
  void gradientsPropagateThroughRmsNorm() {
    float epsilon = 1e-6f;
    NDArray input = normal(DataType.FLOAT32, 1, ROWS, N);
    NDArray target = normal(DataType.FLOAT32, 2, ROWS, 1);
    NDArray w = normal(DataType.FLOAT32, 3, N, N).mul(0.1f);
    NDArray weight = normal(DataType.FLOAT32, 4, N);
    NDArray v = normal(DataType.FLOAT32, 5, N, 1).mul(0.1f);
    NDArray y = like(input);
    NDArray dx = like(input);
    NDArray dweight = like(weight);
    w.setRequiresGradient(true);
    try (RmsNorm norm =
            RmsNorm.builder(N)
                .epsilon(epsilon)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build();
        Saved saved = norm.newSaved(ROWS);
        GradientCollector gradients = Engine.getEngine("PyTorch").newGradientCollector()) {
      NDArray x = input.matMul(w);
      norm.forward(Operands.of(view(x), view(y)).weight(view(weight)), saved);
      NDArray after = y.duplicate();
      after.setRequiresGradient(true);
      gradients.backward(loss(after, v, target));
      norm.backward(
          saved,
          view(after.getGradient()),
          Gradients.of(view(dx)).weight(view(dweight), GradientMode.WRITE));
      gradients.backward(x.mul(dx).sum());
    }

    NDArray theirW = w.duplicate().stopGradient();
    theirW.setRequiresGradient(true);
    weight.setRequiresGradient(true);
    try (GradientCollector gradients = Engine.getEngine("PyTorch").newGradientCollector()) {
      NDArray x = input.matMul(theirW);
      NDArray deviation = x.square().mean(new int[] {1}, true).add(epsilon).sqrt();
      gradients.backward(loss(x.div(deviation).mul(weight), v, target));
    }
    assertNear(doubles(theirW.getGradient()), doubles(w.getGradient()), FLOAT);
    assertNear(doubles(weight.getGradient()), doubles(dweight), FLOAT);
    assertTrue(w.getGradient().abs().max().getFloat() > 0.1);
  }

  private static NDArray loss(NDArray y, NDArray v, NDArray target) {
    return y.matMul(v).sub(target).square().mean();
  }

  /** RMSNorm in each of DJL's types of floating-point numbers. */
  @Test
  void rmsNormInEveryType() {
    TYPES.forEach(
        (type, dtype) -> {
          NDArray x = normal(type, 1, ROWS, N);
          NDArray weight = normal(type, 2, N);
          NDArray dy = normal(type, 3, ROWS, N);
          NDArray y = like(x);
          NDArray dx = like(x);
          NDArray dweight = like(weight);
          Near.assertRmsNorm(
              EPSILON, view(x), view(weight), view(dy), view(y), view(dx), view(dweight));
        });
  }

  @Test
  void viewIsTheArraysMemory() {
    TYPES.forEach(
        (type, dtype) -> {
          NDArray x = normal(type, 1, 3, 4, 5);
          Near.assertIsMemory(dtype, view(x), () -> doubles(x));
        });
  }

  @Test
  void everyOtherTypeIsRefused() {
    for (DataType type :
        new DataType[] {
          DataType.UINT8, DataType.INT8, DataType.INT32, DataType.INT64, DataType.BOOLEAN
        }) {
      NDArray array = manager.zeros(new Shape(2, 2), type);
      assertEquals(type, array.getDataType());
      assertRefused("of type " + type.name(), () -> view(array));
    }
    assertRefused("of type STRING", () -> view(manager.create(new String[] {"a"})));
    NDArray sparse =
        manager.createCoo(
            ByteBuffer.allocateDirect(4).order(ByteOrder.nativeOrder()).asFloatBuffer(),
            new long[][] {{0}, {1}},
            new Shape(2, 2));
    assertRefused("sparse", () -> view(sparse));
  }

  @Test
  void partsOfArrays() {
    NDArray all = normal(DataType.FLOAT32, 1, 4, 5);
    TensorView rows = view(all.get(new NDIndex("1:3")));
    rows.copyFrom(new float[10]);
    assertArrayEquals(new double[10], doubles(all.get(new NDIndex("1:3"))));
    assertTrue(doubles(all)[0] != 0 && doubles(all)[19] != 0);

    NDArray columns = all.get(new NDIndex(":, 1:3"));
    NDArray transposed = all.transpose();
    for (NDArray part : new NDArray[] {columns, transposed}) {
      int arrays = manager.getManagedArrays().size();
      assertRefused("not contiguous", () -> view(part));
      assertEquals(arrays, manager.getManagedArrays().size());
      NDArray copy = part.flatten().reshape(part.getShape());
      assertArrayEquals(doubles(part), view(copy).toDoubles());
    }
  }

  @Test
  void scalarsAndEmptyArrays() {
    assertArrayEquals(new float[] {2.5f}, view(manager.create(2.5f)).toFloats());
    assertArrayEquals(new long[0], view(manager.create(2.5f)).shape());
    NDArray empty = manager.create(new Shape(0, 7));
    assertArrayEquals(new long[] {0, 7}, view(empty).shape());
  }

  @Test
  void closedArraysAreRefused() {
    assertRefused("null", () -> view(null));

    NDArray array = manager.ones(new Shape(3));
    TensorView view = view(array);
    assertArrayEquals(new float[] {1, 1, 1}, view.toFloats());
    array.close();
    assertRefused("deallocated", view::toFloats);
    assertRefused("closed", () -> view(array));

    TensorView ofManager;
    try (NDManager inner = manager.newSubManager()) {
      ofManager = view(inner.ones(new Shape(3)));
      assertArrayEquals(new float[] {1, 1, 1}, ofManager.toFloats());
    }
    assertRefused("deallocated", ofManager::toFloats);
  }

  @Test
  void viewKeepsTheArray() throws InterruptedException {
    Near.assertKeptReachable(
        () -> {
          NDArray array = manager.ones(new Shape(3));
          array.detach();
          return array;
        },
        array -> view((NDArray) array));
  }

  @Test
  void otherEngines() {
    ByteBuffer memory = ByteBuffer.allocateDirect(8).order(ByteOrder.nativeOrder());
    memory.putShort(0, (short) 0x3fc0);
    TensorView view = view(played(DataType.BFLOAT16, ai.djl.Device.cpu(), memory));
    assertEquals(DType.BFLOAT16, view.dtype());
    assertArrayEquals(new float[] {1.5f, 0, 0, 0}, view.toFloats());

    NDArray copying = played(DataType.BFLOAT16, ai.djl.Device.cpu(), ByteBuffer.allocate(8));
    assertRefused("heap", () -> view(copying));
    NDArray unknown = played(DataType.UNKNOWN, ai.djl.Device.cpu(), memory);
    assertRefused("of type UNKNOWN", () -> view(unknown));
    NDArray away = played(DataType.BFLOAT16, ai.djl.Device.gpu(0), memory);
    assertRefused("on gpu(0)", () -> view(away));
  }

  /** An array of four elements of a simulated engine. */
  private NDArray played(DataType type, ai.djl.Device device, ByteBuffer memory) {
    Map<String, Object> answers =
        Map.of(
            "isReleased",
            false,
            "isSparse",
            false,
            "getDataType",
            type,
            "getDevice",
            device,
            "getShape",
            new Shape(4),
            "size",
            4L,
            "toByteBuffer",
            memory,
            "getManager",
            manager);
    return (NDArray)
        Proxy.newProxyInstance(
            NDArray.class.getClassLoader(),
            new Class<?>[] {NDArray.class},
            (proxy, method, arguments) -> answers.get(method.getName()));
  }

  private NDArray normal(DataType type, long seed, long... shape) {
    NDArray array = manager.create(new Shape(shape), type);
    view(array).copyFrom(Values.normal(seed, array.size()));
    return array;
  }

  private NDArray like(NDArray array) {
    return manager.create(array.getShape(), array.getDataType());
  }

  /** The values that DJL reads. */
  private static double[] doubles(NDArray array) {
    return array.toType(DataType.FLOAT64, true).toDoubleArray();
  }
}
