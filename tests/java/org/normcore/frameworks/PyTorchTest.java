package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.TensorBase;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorTensorHook;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Fp8Scaling;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.Norm;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;

/** Views of PyTorch's tensors, and norms in its autograd. */
@Tag("frameworks")
class PyTorchTest {
  private static final int N = 24;
  private static final double EPSILON = 1e-5;

  private PointerScope scope;

  @BeforeAll
  static void setUp() {
    torch.set_num_threads(1);
  }

  @BeforeEach
  void open() {
    torch.manual_seed(7);
    scope = new PointerScope();
  }

  @AfterEach
  void nothingIsLeft() {
    scope.close();
    assertEquals(0, PyTorchNode.live());
  }

  @ParameterizedTest
  @CsvSource({"Double, FLOAT64", "Float, FLOAT32", "BFloat16, BFLOAT16", "Half, FLOAT16"})
  void viewSharesMemoryAndDtype(ScalarType type, DType dtype) {
    Tensor tensor = torch.arange(new Scalar(12)).to(type).reshape(2, 2, 3);
    TensorView view = PyTorch.view(tensor);
    assertEquals(dtype, view.dtype());
    assertEquals(Device.CPU, view.device());
    assertArrayEquals(new long[] {2, 2, 3}, view.shape());
    assertEquals(tensor.data_ptr().address(), view.address());
    view.copyFrom(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -0.375f});
    assertEquals(-0.375, tensor.to(ScalarType.Double).flatten().get(11).item_double());
    assertEquals(7, tensor.to(ScalarType.Double).flatten().get(7).item_double());
  }

  @ParameterizedTest
  @CsvSource({
    "Float8_e4m3fn, FLOAT8_E4M3",
    "Float8_e5m2, FLOAT8_E5M2",
    "Float8_e8m0fnu, FLOAT8_E8M0"
  })
  void formatsOfEightBitsAreKnown(ScalarType type, DType dtype) {
    assertEquals(dtype, PyTorch.view(torch.ones(3).to(type)).dtype());
  }

  @Test
  void rowsMayHaveGaps() {
    Tensor whole = torch.arange(new Scalar(60)).to(ScalarType.Float).reshape(3, 4, 5);
    TensorView part = PyTorch.view(whole.narrow(2, 1, 3));
    assertEquals(5, part.rowStride());
    assertEquals(11, part.toFloats()[6]);
    assertEquals(
        2 * 5,
        PyTorch.view(whole.slice(1, optional(0), optional(4), 2).narrow(0, 0, 1)).rowStride());
    assertEquals(20, PyTorch.view(whole.select(1, 2)).rowStride());
    assertEquals(1, PyTorch.view(torch.ones(new long[0])).elements());
    assertEquals(0, PyTorch.view(torch.ones(0, 5)).elements());
  }

  private static org.bytedeco.pytorch.LongOptional optional(long value) {
    return new org.bytedeco.pytorch.LongOptional(value);
  }

  @Test
  void unsupportedLayoutsAreRefused() {
    Tensor whole = torch.ones(3, 4, 5);
    refused("tensor: null; expected a tensor", () -> PyTorch.view(null));
    refused("tensor: undefined; expected a tensor", () -> PyTorch.view(new Tensor()));
    refused(
        "tensor.strides: [20, 1, 5] with shape [3, 5, 4]; expected contiguous rows, 1 in the last"
            + " dimension; call contiguous()",
        () -> PyTorch.view(whole.transpose(1, 2)));
    refused(
        "tensor.strides: [5, 20, 1] with shape [4, 3, 5]; expected rows at equal distances:"
            + " 60 in dimension 0; call contiguous()",
        () -> PyTorch.view(whole.transpose(0, 1)));
    refused("equal distances: 15 in dimension 0", () -> PyTorch.view(whole.narrow(1, 0, 3)));
    refused("tensor.strides: [0, 1]", () -> PyTorch.view(torch.ones(5).expand(3, 5)));
    refused("tensor: dtype Long; expected one of", () -> PyTorch.view(torch.arange(new Scalar(3))));
    refused("layout Sparse", () -> PyTorch.view(whole.to_sparse()));
    refused("is on meta; expected it on cpu or cuda", () -> PyTorch.view(whole.meta()));
  }

  @Test
  void viewKeepsTheMemoryAlive() {
    Tensor tensor = torch.full(new long[] {1000, 1000}, new Scalar(3f));
    TensorView view = PyTorch.view(tensor);
    tensor.close();
    scope.close();
    scope = new PointerScope();
    torch.full(new long[] {1000, 1000}, new Scalar(4f));
    assertEquals(3, view.toFloats()[999_999]);
  }

  /** The adapter adds no rounding, for any dtypes. */
  @ParameterizedTest
  @CsvSource({
    "FLOAT32, FLOAT32, PYTORCH",
    "BFLOAT16, BFLOAT16, TRANSFORMER_ENGINE",
    "BFLOAT16, BFLOAT16, HUGGING_FACE_LLAMA",
    "BFLOAT16, FLOAT32, HUGGING_FACE_LLAMA",
    "BFLOAT16, FLOAT32, TRANSFORMER_ENGINE",
    "FLOAT16, FLOAT32, T5",
    "FLOAT64, FLOAT64, PYTORCH"
  })
  void theBitsAreTheNormsOwn(DType input, DType weightType, String preset) {
    for (boolean isLayerNorm : new boolean[] {false, true}) {
      Norm norm = norm(isLayerNorm, input, weightType, preset(preset));
      Tensor x = leaf(input, 3, 2, N);
      Tensor weight = leaf(weightType, N);
      Tensor bias = isLayerNorm ? leaf(weightType, N) : null;
      Tensor y = PyTorch.apply(norm, x, weight, bias);
      assertEquals(norm.outputDType(), PyTorch.view(y).dtype());
      Tensor dy = torch.randn(3, 2, N).to(y.scalar_type());
      backward(y, dy);

      Tensor expectedY = torch.empty_like(y.detach());
      Tensor dx = torch.empty_like(x.detach());
      Tensor dweight = torch.empty_like(weight.detach());
      Tensor dbias = isLayerNorm ? torch.empty_like(bias.detach()) : null;
      Operands operands =
          Operands.of(PyTorch.view(x), PyTorch.view(expectedY))
              .weight(PyTorch.view(weight))
              .bias(isLayerNorm ? PyTorch.view(bias) : null);
      Gradients gradients =
          Gradients.of(PyTorch.view(dx)).weight(PyTorch.view(dweight), GradientMode.WRITE);
      if (isLayerNorm) {
        gradients = gradients.bias(PyTorch.view(dbias), GradientMode.WRITE);
      }
      try (Saved saved = norm.forward(operands)) {
        norm.backward(saved, PyTorch.view(dy), gradients);
      }
      assertSame(expectedY, y);
      assertSame(dx, x.grad());
      assertSame(dweight, weight.grad());
      if (isLayerNorm) {
        assertSame(dbias, bias.grad());
      }
      norm.close();
    }
  }

  @Test
  void gradientsPropagateThroughTheGraph() {
    Norm norm = norm(true, DType.FLOAT32, DType.FLOAT32, NormPolicy.PYTORCH);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor scale = leaf(DType.FLOAT32, N);
    Tensor bias = leaf(DType.FLOAT32, N);
    Tensor[][] grads = new Tensor[2][];
    for (int i = 0; i < 2; i++) {
      // x in two branches, a non-leaf weight, y in two branches.
      Tensor h = x.mul(new Scalar(1.5f));
      Tensor weight = scale.exp();
      Tensor y = i == 0 ? torchLayerNorm(h, weight, bias) : PyTorch.apply(norm, h, weight, bias);
      y.mul(y).add(h).sum().backward();
      grads[i] = taken(x, scale, bias);
    }
    for (int k = 0; k < 3; k++) {
      assertClose(grads[0][k], grads[1][k]);
    }
    norm.close();
  }

  @Test
  void hooksSeeAndChangeGradients() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor dy = torch.randn(5, N);
    backward(PyTorch.apply(norm, x, weight), dy.mul(new Scalar(4f)));
    Tensor[] expected = taken(x, weight);
    Tensor y = PyTorch.apply(norm, x, weight);
    // Powers of two, so that nothing is rounded.
    y.register_hook(times(2));
    weight.register_hook(times(0.5f));
    backward(y, dy.mul(new Scalar(2f)));
    assertSame(expected[0], x.grad());
    assertSame(expected[1].mul(new Scalar(0.5f)), weight.grad());
    norm.close();
  }

  private static TensorTensorHook times(float factor) {
    return new TensorTensorHook() {
      @Override
      public TensorBase call(TensorBase gradient) {
        return new Tensor(gradient).mul(new Scalar(factor));
      }
    };
  }

  @Test
  void gradientsAreComputedOnlyWhereRequired() {
    LayerNorm norm = layer(DType.FLOAT32);
    for (int needed = 0; needed < 8; needed++) {
      Tensor x = leaf(DType.FLOAT32, 5, N).set_requires_grad((needed & 1) != 0);
      Tensor weight = leaf(DType.FLOAT32, N).set_requires_grad((needed & 2) != 0);
      Tensor bias = leaf(DType.FLOAT32, N).set_requires_grad((needed & 4) != 0);
      Tensor y = PyTorch.apply(norm, x, weight, bias);
      assertEquals(needed != 0, y.requires_grad());
      assertEquals(needed != 0 ? 1 : 0, PyTorchNode.live());
      if (needed != 0) {
        y.sum().backward();
      }
      assertEquals((needed & 1) != 0, x.grad().defined());
      assertEquals((needed & 2) != 0, weight.grad().defined());
      assertEquals((needed & 4) != 0, bias.grad().defined());
      y.close();
      scope.close();
      scope = new PointerScope();
      assertEquals(0, PyTorchNode.live());
    }
    norm.close();
  }

  @Test
  void gradComputesRequestedGradients() {
    LayerNorm norm = layer(DType.FLOAT32);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor bias = leaf(DType.FLOAT32, N);
    Tensor dy = torch.randn(5, N);
    Tensor y = PyTorch.apply(norm, x, weight, bias);
    TensorVector some =
        torch.grad(
            new TensorVector(y),
            new TensorVector(weight),
            new TensorVector(dy),
            new BoolOptional(true),
            false,
            false);
    assertFalse(x.grad().defined());
    assertFalse(weight.grad().defined());
    backward(y, dy);
    assertSame(weight.grad(), some.get(0));
    norm.close();
  }

  @Test
  void withoutGradModeNothingIsRecorded() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor recorded = PyTorch.apply(norm, x, weight);
    assertTrue(recorded.requires_grad());
    NoGradGuard guard = new NoGradGuard();
    Tensor y = PyTorch.apply(norm, x, weight);
    guard.close();
    assertFalse(y.requires_grad());
    assertEquals(1, PyTorchNode.live());
    assertSame(recorded.detach(), y);
    norm.close();
  }

  @Test
  void gradientsAccumulateOverSeveralBackwards() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor dy = torch.randn(5, N);
    Tensor y = PyTorch.apply(norm, x, weight);
    y.backward(dy, new BoolOptional(true), false, new TensorArrayRefOptional());
    Tensor[] once = {x.grad().clone(), weight.grad().clone()};
    backward(y, dy);
    assertSame(once[0].mul(new Scalar(2f)), x.grad());
    assertSame(once[1].mul(new Scalar(2f)), weight.grad());
    String message = assertThrows(RuntimeException.class, () -> backward(y, dy)).getMessage();
    assertTrue(message.contains("second backward"), message);
    assertSame(once[1].mul(new Scalar(2f)), weight.grad());
    norm.close();
  }

  @Test
  void invalidBackwardsAreRefused() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor h = x.mul(new Scalar(1));
    Tensor y = PyTorch.apply(norm, h, weight);
    h.add_(new Scalar(1));
    failed("x: changed in place since the forward (version 1)", () -> y.sum().backward());

    Tensor z = PyTorch.apply(norm, x, weight);
    NoGradGuard guard = new NoGradGuard();
    weight.add_(new Scalar(1));
    guard.close();
    failed("weight: changed in place since the forward", () -> z.sum().backward());

    Tensor third = PyTorch.apply(norm, x, weight);
    failed(
        "first derivative only",
        () ->
            third
                .sum()
                .backward(
                    new Tensor(), new BoolOptional(true), true, new TensorArrayRefOptional()));
    assertFalse(x.grad().defined());
    norm.close();
    failed("closed", () -> third.sum().backward());
  }

  /**
   * An in-place operation makes x depend on y in the graph, which must not become a reference
   * cycle.
   */
  @Test
  void inPlaceChangeOfXMakesNoCycle() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor x = leaf(DType.FLOAT32, 5, N).mul(new Scalar(2f));
    x.add_(PyTorch.apply(norm, x, weight));
    assertEquals(1, PyTorchNode.live());
    failed("x: changed in place", () -> x.sum().backward());
    norm.close();
  }

  @Test
  void yMayBeChangedInPlace() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor weight = leaf(DType.FLOAT32, N);
    PyTorch.apply(norm, x, weight).mul(new Scalar(2f)).sum().backward();
    Tensor[] expected = taken(x, weight);
    PyTorch.apply(norm, x, weight).mul_(new Scalar(2f)).sum().backward();
    assertSame(expected[0], x.grad());
    assertSame(expected[1], weight.grad());
    norm.close();
  }

  @Test
  void parametersWithGapsAreMadeContiguous() {
    LayerNorm norm = layer(DType.FLOAT32);
    Tensor x = leaf(DType.FLOAT32, 5, N);
    Tensor parameters = leaf(DType.FLOAT32, N, 2);
    Tensor dy = torch.randn(5, N);
    Tensor weight = parameters.select(1, 0);
    Tensor bias = parameters.select(1, 1);
    backward(PyTorch.apply(norm, x, weight.contiguous(), bias.contiguous()), dy);
    Tensor[] expected = taken(x, parameters);
    Tensor y = PyTorch.apply(norm, x, weight, bias);
    assertSame(PyTorch.apply(norm, x, weight.contiguous(), bias.contiguous()), y);
    backward(y, dy);
    assertSame(expected[0], x.grad());
    assertSame(expected[1], parameters.grad());
    norm.close();
  }

  @Test
  void otherLayoutsAreMadeContiguous() {
    LayerNorm norm = layer(DType.FLOAT32);
    Tensor base = leaf(DType.FLOAT32, N, 5);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor bias = leaf(DType.FLOAT32, N);
    Tensor dy = torch.randn(N, 5).t();
    backward(PyTorch.apply(norm, base.t().contiguous(), weight, bias), dy.contiguous());
    Tensor[] expected = taken(base, weight, bias);
    backward(PyTorch.apply(norm, base.t(), weight, bias), dy);
    assertSame(expected[0], base.grad());
    assertSame(expected[1], weight.grad());
    assertSame(expected[2], bias.grad());
    norm.close();
  }

  @Test
  void zeroRowsHaveZeroGradients() {
    LayerNorm norm = layer(DType.BFLOAT16);
    Tensor x = leaf(DType.BFLOAT16, 0, N);
    Tensor weight = leaf(DType.BFLOAT16, N);
    Tensor bias = leaf(DType.BFLOAT16, N);
    Tensor y = PyTorch.apply(norm, x, weight, bias);
    assertArrayEquals(new long[] {0, N}, y.shape());
    y.sum().backward();
    assertSame(torch.zeros(N).to(ScalarType.BFloat16), weight.grad());
    assertSame(torch.zeros(N).to(ScalarType.BFloat16), bias.grad());
    assertTrue(x.grad().defined());
    norm.close();
  }

  @Test
  void otherFormsOfNorms() {
    Tensor x = leaf(DType.FLOAT32, 4, 3, 8);
    try (LayerNorm none =
            LayerNorm.builder(3, 8)
                .affine(Affine.NONE)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build();
        LayerNorm biasOnly =
            LayerNorm.builder(8)
                .affine(Affine.BIAS)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build()) {
      PyTorch.apply(none, x, null).pow(new Scalar(3)).sum().backward();
      Tensor ours = taken(x)[0];
      torch
          .layer_norm(
              x, new long[] {3, 8}, new TensorOptional(), new TensorOptional(), EPSILON, false)
          .pow(new Scalar(3))
          .sum()
          .backward();
      assertClose(taken(x)[0], ours);
      Tensor bias = leaf(DType.FLOAT32, 8);
      PyTorch.apply(biasOnly, x, null, bias).sum().backward();
      assertSame(torch.full(new long[] {8}, new Scalar(12f)), bias.grad());
    }
  }

  @Test
  void wrongTensorsAreNamed() {
    RmsNorm norm = rms(DType.BFLOAT16);
    Tensor x = leaf(DType.BFLOAT16, 5, N);
    Tensor weight = leaf(DType.BFLOAT16, N);
    refused("norm: null", () -> PyTorch.apply(null, x, weight));
    refused("x: null", () -> PyTorch.apply(norm, null, weight));
    refused("weight: null", () -> PyTorch.apply(norm, x, null));
    refused("bias: given as", () -> PyTorch.apply(norm, x, weight, weight));
    refused(
        "x: dtype FLOAT16; expected BFLOAT16",
        () -> PyTorch.apply(norm, x.to(ScalarType.Half), weight));
    refused(
        "weight: dtype FLOAT32; expected BFLOAT16",
        () -> PyTorch.apply(norm, x, weight.to(ScalarType.Float)));
    refused("x: dtype Long", () -> PyTorch.apply(norm, x.to(ScalarType.Long), weight));
    refused("[*, 24], got [5, 12]", () -> PyTorch.apply(norm, x.narrow(1, 0, 12), weight));
    refused("[24], got [12]", () -> PyTorch.apply(norm, x, weight.narrow(0, 0, 12)));
    try (RmsNorm fp8 =
        RmsNorm.builder(N)
            .input(DType.BFLOAT16)
            .output(DType.FLOAT8_E4M3)
            .outputScaling(Fp8Scaling.ROW)
            .policy(NormPolicy.PYTORCH)
            .build()) {
      assertThrows(UnsupportedOperationException.class, () -> PyTorch.apply(fp8, x, weight));
    }
    norm.close();
    assertThrows(IllegalStateException.class, () -> PyTorch.apply(norm, x, weight));
  }

  @Test
  void savedTensorsOutliveScopesAndObjects() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor leaf = leaf(DType.FLOAT32, 5, N);
    backward(PyTorch.apply(norm, leaf.mul(new Scalar(2f)), weight), torch.ones(5, N));
    Tensor[] expected = taken(leaf, weight);
    Tensor y;
    try (PointerScope inner = new PointerScope()) {
      Tensor x = leaf.mul(new Scalar(2f));
      y = PyTorch.apply(norm, x, weight).retainReference();
      x.close();
      assertTrue(inner != null);
    }
    System.gc();
    for (int i = 0; i < 20; i++) {
      torch.randn(5, N);
    }
    backward(y, torch.ones(5, N));
    y.releaseReference();
    assertSame(expected[0], leaf.grad());
    assertSame(expected[1], weight.grad());
    norm.close();
  }

  /** A deep graph that is released at its end must not be freed by recursion. */
  @Test
  void deepGraphsAreFreedWithoutABackward() {
    RmsNorm norm = rms(DType.FLOAT32);
    Tensor weight = leaf(DType.FLOAT32, N);
    Tensor x = leaf(DType.FLOAT32, 1, N);
    int depth = 2000;
    for (int i = 0; i < depth; i++) {
      Tensor y = PyTorch.apply(norm, x, weight);
      x.close();
      x = y;
    }
    assertEquals(depth, PyTorchNode.live());
    x.close();
    scope.close();
    scope = new PointerScope();
    assertEquals(0, PyTorchNode.live());
    norm.close();
  }

  /**
   * A separate process, without the CUDA presets of other tests, does not grow, with and without
   * backwards. Its heap is pre-touched; the JVM's own memory may grow by 1 MB. A tensor or a node
   * takes at least 150 bytes, so one leak per round is 1.2 MB.
   */
  @Test
  void memoryIsFreedWithoutCudaPresets() throws IOException, InterruptedException {
    int rounds = 8_000;
    String classPath =
        Arrays.stream(
                System.getProperty(
                        "surefire.test.class.path", System.getProperty("java.class.path"))
                    .split(File.pathSeparator))
            .filter(entry -> !entry.contains(File.separator + "cuda-"))
            .collect(Collectors.joining(File.pathSeparator));
    Process process =
        new ProcessBuilder(
                System.getProperty("java.home") + File.separator + "bin" + File.separator + "java",
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dorg.bytedeco.javacpp.maxPhysicalBytes=0",
                "-Dorg.bytedeco.javacpp.cachedir="
                    + System.getProperty("org.bytedeco.javacpp.cachedir", ""),
                "-cp",
                classPath,
                PyTorchRounds.class.getName(),
                String.valueOf(rounds))
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    assertTrue(output.contains("live\t0\npresets\tfalse\n"), output);
    List<Long> grown =
        output
            .lines()
            .filter(line -> line.startsWith("grown\t"))
            .map(line -> Long.valueOf(line.split("\t")[1]))
            .toList();
    assertEquals(2, grown.size(), output);
    assertTrue(grown.stream().allMatch(bytes -> bytes < 1 << 20), output);
  }

  @Test
  void concurrentCallsAreIndependent() throws Exception {
    LayerNorm norm = layer(DType.FLOAT32);
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try {
      Callable<Void> work =
          () -> {
            for (int i = 0; i < 50; i++) {
              try (PointerScope inner = new PointerScope()) {
                Tensor x = torch.ones(4, N).set_requires_grad(true);
                Tensor weight = torch.ones(N).set_requires_grad(true);
                Tensor bias = torch.ones(N).set_requires_grad(true);
                PyTorch.apply(norm, x, weight, bias).sum().backward();
                assertEquals(4 * N, bias.grad().sum().item_float());
                assertEquals(0, weight.grad().abs().sum().item_float());
                assertTrue(inner != null);
              }
            }
            return null;
          };
      for (Future<Void> done : pool.invokeAll(List.of(work, work, work, work))) {
        done.get();
      }
    } finally {
      pool.shutdown();
    }
    norm.close();
  }

  private static RmsNorm rms(DType dtype) {
    return RmsNorm.builder(N).epsilon(EPSILON).input(dtype).policy(NormPolicy.PYTORCH).build();
  }

  private static LayerNorm layer(DType dtype) {
    return LayerNorm.builder(N).epsilon(EPSILON).input(dtype).policy(NormPolicy.PYTORCH).build();
  }

  private static Norm norm(boolean isLayerNorm, DType input, DType weight, NormPolicy policy) {
    return isLayerNorm
        ? LayerNorm.builder(N).epsilon(EPSILON).input(input).weight(weight).policy(policy).build()
        : RmsNorm.builder(N).epsilon(EPSILON).input(input).weight(weight).policy(policy).build();
  }

  private static NormPolicy preset(String name) {
    return switch (name) {
      case "PYTORCH" -> NormPolicy.PYTORCH;
      case "TRANSFORMER_ENGINE" -> NormPolicy.TRANSFORMER_ENGINE;
      case "HUGGING_FACE_LLAMA" -> NormPolicy.HUGGING_FACE_LLAMA;
      case "T5" -> NormPolicy.T5;
      default -> throw new IllegalArgumentException(name);
    };
  }

  private static Tensor leaf(DType dtype, long... shape) {
    ScalarType type =
        switch (dtype) {
          case FLOAT64 -> ScalarType.Double;
          case FLOAT32 -> ScalarType.Float;
          case BFLOAT16 -> ScalarType.BFloat16;
          case FLOAT16 -> ScalarType.Half;
          default -> throw new IllegalArgumentException(dtype.toString());
        };
    return torch.randn(shape).to(type).set_requires_grad(true);
  }

  private static void backward(Tensor y, Tensor dy) {
    y.backward(dy, new BoolOptional(), false, new TensorArrayRefOptional());
  }

  private static Tensor torchLayerNorm(Tensor x, Tensor weight, Tensor bias) {
    return torch.layer_norm(
        x, new long[] {N}, new TensorOptional(weight), new TensorOptional(bias), EPSILON, false);
  }

  /** Returns gradients, and resets them. */
  private static Tensor[] taken(Tensor... leaves) {
    Tensor[] gradients = new Tensor[leaves.length];
    for (int i = 0; i < leaves.length; i++) {
      gradients[i] = leaves[i].grad().clone();
      leaves[i].mutable_grad().reset();
    }
    return gradients;
  }

  private static void assertSame(Tensor expected, @Nullable Tensor actual) {
    assertEquals(expected.scalar_type().intern(), actual.scalar_type().intern());
    assertArrayEquals(expected.shape(), actual.shape());
    assertTrue(torch.equal(expected, actual), "bits differ");
  }

  private static void assertClose(Tensor expected, Tensor actual) {
    assertTrue(torch.allclose(expected, actual, 1e-5, 1e-5, false), "beyond 1e-5");
  }

  private static void refused(String part, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.contains(part), message);
  }

  private static void failed(String part, Runnable call) {
    String message = assertThrows(RuntimeException.class, call::run).getMessage();
    assertTrue(message.contains(part), message);
  }
}
