package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.normcore.frameworks.Near.assertNear;
import static org.normcore.frameworks.Near.assertRefused;
import static org.normcore.frameworks.TensorFlow.view;

import java.nio.ByteBuffer;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.BytePointer;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.testing.Values;
import org.tensorflow.EagerSession;
import org.tensorflow.Graph;
import org.tensorflow.Operand;
import org.tensorflow.Output;
import org.tensorflow.Result;
import org.tensorflow.Session;
import org.tensorflow.SparseTensor;
import org.tensorflow.Tensor;
import org.tensorflow.ndarray.Shape;
import org.tensorflow.ndarray.StdArrays;
import org.tensorflow.ndarray.buffer.DataBuffers;
import org.tensorflow.op.Ops;
import org.tensorflow.op.core.Placeholder;
import org.tensorflow.op.math.Mean;
import org.tensorflow.types.TBfloat16;
import org.tensorflow.types.TBool;
import org.tensorflow.types.TFloat16;
import org.tensorflow.types.TFloat32;
import org.tensorflow.types.TFloat64;
import org.tensorflow.types.TInt32;
import org.tensorflow.types.TInt64;
import org.tensorflow.types.TString;
import org.tensorflow.types.TUint16;
import org.tensorflow.types.TUint8;
import org.tensorflow.types.family.TNumber;
import org.tensorflow.types.family.TType;

/** TensorFlow Java on the CPU. */
@Tag("other-frameworks")
class TensorFlowTest {
  private static final int ROWS = 6;
  private static final int N = 77;
  private static final double EPSILON = 1e-5;
  private static final double FLOAT = 16 * Near.step(DType.FLOAT32);
  private static final Map<Class<? extends TNumber>, DType> TYPES =
      Map.of(
          TFloat64.class, DType.FLOAT64,
          TFloat32.class, DType.FLOAT32,
          TFloat16.class, DType.FLOAT16,
          TBfloat16.class, DType.BFLOAT16);

  /** TensorFlow has no LayerNorm, so the reference is the usual composition and its gradients. */
  @Test
  void layerNormIsTheUsualComposition() {
    try (TFloat32 x = normal(TFloat32.class, 1, ROWS, N);
        TFloat32 weight = normal(TFloat32.class, 2, N);
        TFloat32 bias = normal(TFloat32.class, 3, N);
        TFloat32 dy = normal(TFloat32.class, 4, ROWS, N);
        TFloat32 y = TFloat32.tensorOf(x.shape());
        TFloat32 dx = TFloat32.tensorOf(x.shape());
        TFloat32 dweight = TFloat32.tensorOf(weight.shape());
        TFloat32 dbias = TFloat32.tensorOf(bias.shape())) {
      try (LayerNorm norm =
              LayerNorm.builder(N)
                  .epsilon(EPSILON)
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

      try (Graph graph = new Graph();
          Session session = new Session(graph)) {
        Ops tf = Ops.create(graph);
        Placeholder<TFloat32> px = tf.placeholder(TFloat32.class);
        Placeholder<TFloat32> pweight = tf.placeholder(TFloat32.class);
        Placeholder<TFloat32> pbias = tf.placeholder(TFloat32.class);
        Placeholder<TFloat32> pdy = tf.placeholder(TFloat32.class);
        Operand<TFloat32> out = layerNorm(tf, px, pweight, pbias);
        Output<?>[] inputs = {px.asOutput(), pweight.asOutput(), pbias.asOutput()};
        Output<?>[] gradients = graph.addGradients(tf.math.mul(out, pdy).asOutput(), inputs);
        try (Result theirs =
            session
                .runner()
                .feed(px, x)
                .feed(pweight, weight)
                .feed(pbias, bias)
                .feed(pdy, dy)
                .fetch(out)
                .fetch(gradients[0])
                .fetch(gradients[1])
                .fetch(gradients[2])
                .run()) {
          assertNear(doubles((TFloat32) theirs.get(0)), doubles(y), FLOAT);
          assertNear(doubles((TFloat32) theirs.get(1)), doubles(dx), FLOAT);
          assertNear(doubles((TFloat32) theirs.get(2)), doubles(dweight), FLOAT);
          assertNear(doubles((TFloat32) theirs.get(3)), doubles(dbias), FLOAT);
        }
      }
    }
  }

  private static Operand<TFloat32> layerNorm(
      Ops tf, Operand<TFloat32> x, Operand<TFloat32> weight, Operand<TFloat32> bias) {
    Operand<TFloat32> mean = tf.math.mean(x, tf.constant(-1), Mean.keepDims(true));
    Operand<TFloat32> centred = tf.math.sub(x, mean);
    Operand<TFloat32> variance =
        tf.math.mean(tf.math.square(centred), tf.constant(-1), Mean.keepDims(true));
    Operand<TFloat32> rstd = tf.math.rsqrt(tf.math.add(variance, tf.constant((float) EPSILON)));
    return tf.math.add(tf.math.mul(tf.math.mul(centred, rstd), weight), bias);
  }

  /**
   * A norm between two parts of a model: it reads TensorFlow's results, and TensorFlow's next
   * operations read its output.
   */
  @Test
  void rmsNormBetweenEagerOperations() {
    float[][] values = {{1, 2, 2, 4}, {-2, 4, -4, 8}};
    try (EagerSession session = EagerSession.create();
        RmsNorm norm =
            RmsNorm.builder(4).epsilon(0).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build()) {
      Ops tf = Ops.create(session);
      TFloat32 x = tf.math.add(tf.constant(values), tf.constant(0f)).asTensor();
      TFloat32 weight = tf.constant(new float[] {1, 2, 3, 4}).asTensor();
      try (TFloat32 y = TFloat32.tensorOf(x.shape())) {
        norm.infer(view(x), view(weight), view(y));
        TFloat32 doubled = tf.math.mul(tf.constantOf(y), tf.constant(5f)).asTensor();
        float[][] found = StdArrays.array2dCopyOf(doubled);
        // The rows' mean squares are 6.25 and 25.
        assertArrayEquals(new float[] {2, 8, 12, 32}, found[0]);
        assertArrayEquals(new float[] {-2, 8, -12, 32}, found[1]);
      }
    }
  }

  /** RMSNorm, which TensorFlow lacks, in each of its types of floating-point numbers. */
  @Test
  void rmsNormInEveryType() {
    TYPES.forEach(
        (type, dtype) -> {
          try (TNumber x = normal(type, 1, ROWS, N);
              TNumber weight = normal(type, 2, N);
              TNumber dy = normal(type, 3, ROWS, N);
              TNumber y = Tensor.of(type, x.shape());
              TNumber dx = Tensor.of(type, x.shape());
              TNumber dweight = Tensor.of(type, weight.shape())) {
            Near.assertRmsNorm(
                EPSILON, view(x), view(weight), view(dy), view(y), view(dx), view(dweight));
          }
        });
  }

  @Test
  void viewIsTheTensorsMemory() {
    TYPES.forEach(
        (type, dtype) -> {
          try (TNumber x = normal(type, 1, 3, 4, 5)) {
            Near.assertIsMemory(dtype, view(x), () -> doubles(x));
          }
        });
  }

  @Test
  void everyOtherTypeIsRefused() {
    List<Class<? extends TType>> others =
        List.of(TInt32.class, TInt64.class, TBool.class, TUint8.class, TUint16.class);
    for (Class<? extends TType> type : others) {
      try (TType tensor = Tensor.of(type, Shape.of(2, 2))) {
        assertRefused("of type " + type.getSimpleName(), () -> view(tensor));
      }
    }
    try (TString text = TString.scalarOf("a")) {
      assertRefused("of type TString", () -> view(text));
    }
    try (TInt64 indices = TInt64.tensorOf(Shape.of(1, 1));
        TFloat32 values = TFloat32.vectorOf(1);
        TInt64 shape = TInt64.vectorOf(4);
        SparseTensor<TFloat32> sparse = SparseTensor.of(indices, values, shape)) {
      assertRefused("sparse", () -> view(sparse.asTypedTensor()));
    }
  }

  @Test
  void scalarsAndEmptyTensors() {
    try (TBfloat16 scalar = TBfloat16.scalarOf(2.5f);
        TFloat32 empty = TFloat32.tensorOf(Shape.of(0, 7))) {
      assertArrayEquals(new float[] {2.5f}, view(scalar).toFloats());
      assertArrayEquals(new long[0], view(scalar).shape());
      assertArrayEquals(new long[] {0, 7}, view(empty).shape());
    }
  }

  @Test
  void closedTensorsAreRefused() {
    assertRefused("null", () -> view(null));

    TFloat32 tensor = TFloat32.vectorOf(1, 2, 3);
    TensorView view = view(tensor);
    assertArrayEquals(new float[] {1, 2, 3}, view.toFloats());
    tensor.close();
    assertRefused("deallocated", view::toFloats);
    assertRefused("closed", () -> view(tensor));

    TensorView ofSession;
    try (EagerSession session = EagerSession.create()) {
      ofSession = view(Ops.create(session).constant(new float[] {1, 2}).asTensor());
      assertArrayEquals(new float[] {1, 2}, ofSession.toFloats());
    }
    assertRefused("deallocated", ofSession::toFloats);
  }

  @Test
  void viewKeepsTheTensor() throws InterruptedException {
    Near.assertKeptReachable(() -> TFloat32.vectorOf(1, 2, 3), tensor -> view((TFloat32) tensor));
  }

  /** The mapping of a tensor's memory without Unsafe: a read-only buffer. */
  @Test
  void addressOfBuffers() {
    ByteBuffer direct = ByteBuffer.allocateDirect(16);
    long address = new BytePointer(direct).address();
    assertEquals(address, TensorFlow.address(DataBuffers.of(direct.asReadOnlyBuffer())));
    assertRefused("heap", () -> TensorFlow.address(DataBuffers.of(ByteBuffer.allocate(16))));
    assertRefused("heap", () -> TensorFlow.address(DataBuffers.ofBytes(16)));
  }

  private static <T extends TNumber> T normal(Class<T> type, long seed, long... shape) {
    T tensor = Tensor.of(type, Shape.of(shape));
    view(tensor).copyFrom(Values.normal(seed, tensor.shape().size()));
    return tensor;
  }

  /** The values that TensorFlow reads. */
  private static double[] doubles(TNumber tensor) {
    try (EagerSession session = EagerSession.create()) {
      Ops tf = Ops.create(session);
      TFloat64 wide = tf.dtypes.cast(tf.constantOf(tensor), TFloat64.class).asTensor();
      double[] values = new double[Math.toIntExact(wide.size())];
      wide.asRawTensor().data().asDoubles().read(values);
      return values;
    }
  }
}
