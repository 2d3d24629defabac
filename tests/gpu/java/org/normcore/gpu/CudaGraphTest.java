package org.normcore.gpu;

import static org.bytedeco.cuda.global.cudart.cudaGetErrorString;
import static org.bytedeco.cuda.global.cudart.cudaGraphDestroy;
import static org.bytedeco.cuda.global.cudart.cudaGraphExecDestroy;
import static org.bytedeco.cuda.global.cudart.cudaGraphInstantiate;
import static org.bytedeco.cuda.global.cudart.cudaGraphLaunch;
import static org.bytedeco.cuda.global.cudart.cudaStreamBeginCapture;
import static org.bytedeco.cuda.global.cudart.cudaStreamCaptureModeGlobal;
import static org.bytedeco.cuda.global.cudart.cudaStreamCreate;
import static org.bytedeco.cuda.global.cudart.cudaStreamDestroy;
import static org.bytedeco.cuda.global.cudart.cudaStreamEndCapture;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.CudaBuffer;
import org.normcore.CudaException;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.LayerNorm;
import org.normcore.NativeBuffer;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;

/** Norms in streams and graphs of the JavaCPP CUDA presets. */
@Tag("gpu")
final class CudaGraphTest {
  private static final Device GPU = Device.cuda(0);
  private static final DType DTYPE = DType.BFLOAT16;
  private static final int ROWS = 300;
  private static final int N = 4096;

  private final CUstream_st handle = new CUstream_st();
  private CudaStream stream;

  @BeforeEach
  void makeStream() {
    ok(cudaStreamCreate(handle));
    stream = CudaStream.of(GPU, handle);
  }

  @AfterEach
  void destroyStream() {
    ok(cudaStreamDestroy(handle));
  }

  @ParameterizedTest
  @EnumSource
  void replayReadsCurrentInputs(NormKind kind) {
    try (Step gpu = new Step(kind, GPU);
        Step cpu = new Step(kind, Device.CPU)) {
      CUgraph_st graph = new CUgraph_st();
      CUgraphExec_st executable = new CUgraphExec_st();
      float[] before = gpu.read(gpu.y, stream);
      ok(cudaStreamBeginCapture(handle, cudaStreamCaptureModeGlobal));
      gpu.run(stream);
      ok(cudaStreamEndCapture(handle, graph));
      ok(cudaGraphInstantiate(executable, graph, 0));
      assertArrayEquals(before, gpu.read(gpu.y, stream), "capturing computes nothing");
      for (long seed = 1; seed <= 3; ++seed) {
        gpu.fill(seed, stream);
        cpu.fill(seed, null);
        cpu.run(null);
        ok(cudaGraphLaunch(executable, handle));
        gpu.assertSame(cpu, stream);
      }
      ok(cudaGraphExecDestroy(executable));
      ok(cudaGraphDestroy(graph));
    }
  }

  @ParameterizedTest
  @EnumSource
  void threadsWithOwnStreamsShareANorm(NormKind kind) throws Exception {
    int threads = 4;
    ExecutorService executor = Executors.newFixedThreadPool(threads);
    try (Norm shared = norm(kind, GPU)) {
      List<Future<?>> results = new ArrayList<>();
      for (int thread = 0; thread < threads; ++thread) {
        long seed = 100 + thread;
        results.add(
            executor.submit(
                () -> {
                  try (CudaStream own = CudaStream.create(GPU);
                      Step gpu = new Step(shared, GPU);
                      Step cpu = new Step(kind, Device.CPU)) {
                    cpu.fill(seed, null);
                    cpu.run(null);
                    gpu.fill(seed, own);
                    for (int repeat = 0; repeat < 20; ++repeat) {
                      gpu.run(own);
                    }
                    gpu.assertSame(cpu, own);
                  }
                  return null;
                }));
      }
      for (Future<?> result : results) {
        result.get();
      }
    } finally {
      executor.shutdownNow();
    }
  }

  @Test
  void uncapturableCallsFailWithCudasErrorName() {
    ok(cudaStreamBeginCapture(handle, cudaStreamCaptureModeGlobal));
    CudaException e = assertThrows(CudaException.class, stream::synchronize);
    assertTrue(e.getMessage().contains("cudaErrorStreamCapture"), e.getMessage());
    assertNotEquals(0, cudaStreamEndCapture(handle, new CUgraph_st()), "the capture is void");
    // The device and the stream still work.
    try (Step gpu = new Step(NormKind.RMS_NORM, GPU);
        Step cpu = new Step(NormKind.RMS_NORM, Device.CPU)) {
      gpu.fill(7, stream);
      gpu.run(stream);
      cpu.fill(7, null);
      cpu.run(null);
      gpu.assertSame(cpu, stream);
    }
  }

  private static void ok(int error) {
    assertEquals(0, error, () -> cudaGetErrorString(error).getString());
  }

  private static Norm norm(NormKind kind, Device device) {
    Norm.Builder<?> builder = kind == NormKind.RMS_NORM ? RmsNorm.builder(N) : LayerNorm.builder(N);
    return builder
        .epsilon(1e-5)
        .input(DTYPE)
        .policy(NormPolicy.HUGGING_FACE_LLAMA)
        .device(device)
        .build();
  }

  /** A forward and a backward on either device, with their memory. */
  private static final class Step implements AutoCloseable {
    private final List<AutoCloseable> owned = new ArrayList<>();
    private final Device device;
    private final Norm norm;
    private final Saved saved;
    private final TensorView x;
    private final TensorView y;
    private final TensorView dy;
    private final TensorView dx;
    private final TensorView weight;
    private final TensorView bias;
    private final TensorView dweight;
    private final TensorView dbias;

    Step(NormKind kind, Device device) {
      this(norm(kind, device), device);
      owned.add(norm);
    }

    Step(Norm norm, Device device) {
      this.device = device;
      this.norm = norm;
      this.saved = norm.newSaved(ROWS);
      owned.add(saved);
      TensorView tensors = allocate(4L * ROWS, N);
      this.x = tensors.rows(0, ROWS);
      this.y = tensors.rows(ROWS, 2L * ROWS);
      this.dy = tensors.rows(2L * ROWS, 3L * ROWS);
      this.dx = tensors.rows(3L * ROWS, 4L * ROWS);
      TensorView vectors = allocate(4, N);
      this.weight = vectors.rows(0, 1).reshape(N);
      this.bias = vectors.rows(1, 2).reshape(N);
      this.dweight = vectors.rows(2, 3).reshape(N);
      this.dbias = vectors.rows(3, 4).reshape(N);
    }

    private TensorView allocate(long... shape) {
      if (device.isCpu()) {
        NativeBuffer buffer = NativeBuffer.allocate(DTYPE, shape).zero();
        owned.add(buffer);
        return buffer.view(DTYPE, shape);
      }
      CudaBuffer buffer = CudaBuffer.allocate(device, DTYPE, shape);
      owned.add(buffer);
      CudaStream stream = CudaStream.ofDefault(device);
      buffer.zero(stream);
      stream.synchronize();
      return buffer.view(DTYPE, shape);
    }

    private boolean hasBias() {
      return norm.kind() == NormKind.LAYER_NORM;
    }

    /** Draws all inputs and enqueues their copies to the device. */
    void fill(long seed, CudaStream stream) {
      Random random = new Random(seed);
      for (TensorView tensor : List.of(x, dy, weight, bias)) {
        float[] values = new float[Math.toIntExact(tensor.elements())];
        for (int i = 0; i < values.length; ++i) {
          values[i] = (float) random.nextGaussian();
        }
        if (device.isCpu()) {
          tensor.copyFrom(values);
        } else {
          try (NativeBuffer host = NativeBuffer.allocate(DTYPE, tensor.shape())) {
            tensor.copyFrom(host.view(DTYPE, tensor.shape()).copyFrom(values), stream);
            stream.synchronize();
          }
        }
      }
    }

    void run(CudaStream stream) {
      norm.forward(
          Operands.of(x, y).weight(weight).bias(hasBias() ? bias : null).stream(stream), saved);
      Gradients gradients = Gradients.of(dx).weight(dweight, GradientMode.WRITE).stream(stream);
      if (hasBias()) {
        gradients = gradients.bias(dbias, GradientMode.WRITE);
      }
      norm.backward(saved, dy, gradients);
    }

    float[] read(TensorView tensor, CudaStream stream) {
      if (device.isCpu()) {
        return tensor.toFloats();
      }
      try (NativeBuffer host = NativeBuffer.allocate(DTYPE, tensor.shape())) {
        TensorView copy = host.view(DTYPE, tensor.shape()).copyFrom(tensor, stream);
        stream.synchronize();
        return copy.toFloats();
      }
    }

    void assertSame(Step cpu, CudaStream stream) {
      assertArrayEquals(cpu.read(cpu.y, null), read(y, stream), "y");
      assertArrayEquals(cpu.read(cpu.dx, null), read(dx, stream), "dx");
      assertArrayEquals(cpu.read(cpu.dweight, null), read(dweight, stream), "dweight");
      assertArrayEquals(cpu.read(cpu.dbias, null), read(dbias, stream), "dbias");
    }

    @Override
    public void close() {
      for (AutoCloseable each : owned) {
        try {
          each.close();
        } catch (Exception e) {
          throw new IllegalStateException(e);
        }
      }
    }
  }
}
