package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.Arena;
import org.normcore.testing.Mirror;
import org.normcore.testing.NeedsCuda;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;
import org.normcore.testing.Values;

/** Norms on a CUDA device give the same bits as on the CPU, in every form of the API. */
@NeedsCuda
class CudaNormTest {
  private static final Device GPU = Device.cuda(0);

  private static Norm.Builder<?> builder(NormKind kind, long n, Device device) {
    return NormTensors.builder(
            kind, n, BFLOAT16, FLOAT32, Affine.WEIGHT_AND_BIAS, NormPolicy.HUGGING_FACE_LLAMA)
        .device(device);
  }

  /** The bytes of a tensor on a device, read in stream order. */
  private static byte[] fetch(TensorView remote, CudaStream stream) {
    try (NativeBuffer buffer = NativeBuffer.allocate(remote.dtype(), remote.shape())) {
      TensorView host = buffer.view(remote.dtype(), remote.shape()).copyFrom(remote, stream);
      stream.synchronize();
      return host.toBytes();
    }
  }

  /** Forward and backward on both devices, with guards around all memory. */
  private static void assertSameBits(Norm cpu, Norm gpu, NormTensors t, String what) {
    try (Saved saved = cpu.forward(t.operands());
        Mirror mirror = t.mirror(gpu.device());
        CudaStream stream = CudaStream.create(gpu.device())) {
      cpu.backward(saved, t.dy, t.gradients());
      List<byte[]> expected = t.results();
      t.clear();
      mirror.upload(stream);
      try (Saved remote = gpu.forward(t.operands(mirror).stream(stream))) {
        gpu.backward(remote, mirror.apply(t.dy), t.gradients(mirror).stream(stream));
        mirror.download(stream);
        t.assertResults(expected, what);
        t.assertGuards();
        assertArrayEquals(saved.rstd().toBytes(), fetch(remote.rstd(), stream), what);
        if (saved.mean() == null) {
          assertNull(remote.mean());
        } else {
          assertArrayEquals(saved.mean().toBytes(), fetch(remote.mean(), stream), what);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void formatsAndPoliciesGiveTheCpusBits(NormKind kind) {
    DType[][] formats = {
      {FLOAT32, FLOAT32},
      {BFLOAT16, BFLOAT16},
      {FLOAT16, FLOAT16},
      {BFLOAT16, FLOAT32},
      {FLOAT64, FLOAT64},
      {FLOAT32, FLOAT16}
    };
    NormPolicy wide = NormPolicy.PYTORCH.toBuilder().compute(ComputeType.FLOAT64).build();
    NormPolicy[] policies = {
      NormPolicy.TRANSFORMER_ENGINE,
      NormPolicy.HUGGING_FACE_LLAMA,
      NormPolicy.T5,
      NormPolicy.GEMMA,
      NormPolicy.LAYER_NORM_1P,
      wide
    };
    int turn = 0;
    for (DType[] format : formats) {
      for (NormPolicy policy : policies) {
        turn++;
        Affine affine = turn % 3 == 0 ? Affine.WEIGHT : Affine.WEIGHT_AND_BIAS;
        try (Norm cpu =
                NormTensors.builder(kind, 40, format[0], format[1], affine, policy).build();
            Norm gpu =
                NormTensors.builder(kind, 40, format[0], format[1], affine, policy)
                    .device(GPU)
                    .build();
            NormTensors t =
                new NormTensors(cpu, 5, turn % 2 == 0, new Layout(turn % 4, turn % 5), turn)) {
          assertSameBits(cpu, gpu, t, cpu.toString());
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void sizesGiveTheCpusBits(NormKind kind) {
    long[][] sizes = {
      {1, 3}, {7, 9}, {64, 33}, {100, 1}, {1024, 9}, {4096, 3}, {5000, 2}, {20_000, 1}, {40_000, 1}
    };
    for (long[] size : sizes) {
      try (Norm cpu = builder(kind, size[0], Device.CPU).build();
          Norm gpu = builder(kind, size[0], GPU).build()) {
        for (Layout layout : List.of(Layout.DENSE, new Layout(2, 3, 1))) {
          try (NormTensors t = new NormTensors(cpu, (int) size[1], true, layout, size[0])) {
            assertSameBits(cpu, gpu, t, cpu + ", " + layout);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void affineFormsGiveTheCpusBits(NormKind kind) {
    for (Affine affine : Affine.values()) {
      try (Norm cpu = builder(kind, 24, Device.CPU).affine(affine).build();
          Norm gpu = builder(kind, 24, GPU).affine(affine).build();
          NormTensors t = new NormTensors(cpu, 3, false, Layout.DENSE, 1)) {
        assertSameBits(cpu, gpu, t, affine.toString());
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void everyDeviceGivesTheSameBits(NormKind kind) {
    for (CudaDevice device : Cuda.devices()) {
      try (Norm cpu = builder(kind, 300, Device.CPU).build();
          Norm gpu = builder(kind, 300, device.device()).build();
          NormTensors t = new NormTensors(cpu, 10, true, Layout.DENSE, 1)) {
        assertEquals(device.device(), gpu.device());
        assertTrue(gpu.toString().contains("device=" + device.device()), gpu.toString());
        assertSameBits(cpu, gpu, t, device.toString());
      }
    }
  }

  /** Statistics and workspace in the caller's memory, and inference. */
  @ParameterizedTest
  @EnumSource
  void plainBuffersGiveTheCpusBits(NormKind kind) {
    int rows = 7;
    try (Norm cpu = builder(kind, 48, Device.CPU).build();
        Norm gpu = builder(kind, 48, GPU).build();
        NormTensors t = new NormTensors(cpu, rows, true, Layout.DENSE, 1);
        Mirror mirror = t.mirror(GPU);
        CudaBuffer statistics = CudaBuffer.allocate(GPU, FLOAT32, 2, rows);
        CudaBuffer workspace =
            CudaBuffer.allocate(GPU, gpu.backwardWorkspaceBytes(rows, t.gradients()))) {
      t.run();
      List<byte[]> expected = t.results();
      t.clear();
      CudaStream stream = CudaStream.ofDefault(GPU);
      mirror.upload(stream);
      TensorView mean = kind == NormKind.RMS_NORM ? null : statistics.view(0, FLOAT32, rows);
      TensorView rstd = statistics.view(4L * rows, FLOAT32, rows);
      // Without a stream: the default stream.
      gpu.forward(t.operands(mirror), mean, rstd);
      gpu.backward(
          mirror.apply(t.residualOut),
          mirror.apply(t.weight),
          mean,
          rstd,
          mirror.apply(t.dy),
          t.gradients(mirror),
          workspace);
      mirror.download(stream);
      t.assertResults(expected, "plain buffers");
      byte[] y = t.y.toBytes();
      t.clear();
      mirror.upload(stream);
      gpu.infer(t.operands(mirror).stream(stream));
      mirror.download(stream);
      assertArrayEquals(y, t.y.toBytes());
      t.assertGuards();
    }
  }

  /** y in place of x, and dx in place of x, of dy and of the residual's gradient. */
  @ParameterizedTest
  @EnumSource
  void inPlaceGivesTheCpusBits(NormKind kind) {
    try (Norm cpu = plain(kind, Device.CPU);
        Norm gpu = plain(kind, GPU);
        CudaStream stream = CudaStream.create(GPU)) {
      for (int place = 0; place < 3; place++) {
        try (NormTensors t = new NormTensors(cpu, 5, place == 2, Layout.DENSE, place);
            Mirror mirror = t.mirror(GPU)) {
          t.run();
          byte[] dx = t.dx.toBytes();
          byte[] y = t.y.toBytes();
          TensorView source = place == 2 ? t.residualOut : t.x;
          TensorView over = List.of(t.x, t.dy, source).get(place);
          mirror.upload(stream);
          try (Saved saved = gpu.forward(t.operands(mirror).stream(stream))) {
            Gradients gradients = Gradients.of(mirror.apply(over)).stream(stream);
            if (place == 2) {
              gradients = gradients.residual(mirror.apply(t.dresidual));
            }
            gpu.backward(saved, mirror.apply(t.dy), gradients);
            assertEquals(place != 1, isSpent(saved), "dx over what was normalised");
          }
          assertArrayEquals(dx, fetch(mirror.apply(over), stream), "in place " + place);
          mirror.upload(stream);
          Operands inPlace = Operands.of(mirror.apply(t.x), mirror.apply(t.x));
          if (place != 2) {
            gpu.infer(
                inPlace.weight(mirror.apply(t.weight)).bias(mirror.apply(t.bias)).stream(stream));
            assertArrayEquals(y, fetch(mirror.apply(t.x), stream));
          }
        }
      }
    }
  }

  private static Norm plain(NormKind kind, Device device) {
    return NormTensors.builder(
            kind, 72, BFLOAT16, BFLOAT16, Affine.WEIGHT_AND_BIAS, NormPolicy.PYTORCH)
        .device(device)
        .build();
  }

  private static boolean isSpent(Saved saved) {
    try {
      saved.rows();
      return false;
    } catch (IllegalStateException e) {
      return true;
    }
  }

  /** A Saved that is refilled repeatedly, with fewer rows and with no rows. */
  @ParameterizedTest
  @EnumSource
  void savedIsReused(NormKind kind) {
    try (Norm cpu = builder(kind, 16, Device.CPU).build();
        Norm gpu = builder(kind, 16, GPU).build();
        CudaStream stream = CudaStream.create(GPU);
        Saved reuse = gpu.newSaved(9)) {
      assertThrows(IllegalStateException.class, reuse::rows);
      for (int rows : new int[] {9, 1, 0, 5}) {
        try (NormTensors t = new NormTensors(cpu, rows, false, Layout.DENSE, rows);
            Mirror mirror = t.mirror(GPU)) {
          t.run();
          List<byte[]> expected = t.results();
          t.clear();
          mirror.upload(stream);
          assertSame(reuse, gpu.forward(t.operands(mirror).stream(stream), reuse));
          assertEquals(rows, reuse.rows());
          assertEquals(rows, reuse.rstd().elements());
          assertEquals(GPU, reuse.rstd().device());
          assertThrows(UnsupportedOperationException.class, reuse.rstd()::toFloats);
          gpu.backward(reuse, mirror.apply(t.dy), t.gradients(mirror).stream(stream));
          gpu.backward(reuse, mirror.apply(t.dy), t.gradients(mirror).stream(stream));
          gpu.backward(reuse, mirror.apply(t.dy), Gradients.none());
          mirror.download(stream);
          t.assertResults(expected, rows + " rows");
        }
      }
      try (NormTensors t = new NormTensors(cpu, 10, false, Layout.DENSE, 1);
          Mirror mirror = t.mirror(GPU)) {
        assertRefused(() -> gpu.forward(t.operands(mirror), reuse), "reuse: made for 9 rows", "10");
        assertEquals(5, reuse.rows());
      }
    }
  }

  /** Gradients added to a buffer; for zero rows they are 0, or add nothing. */
  @ParameterizedTest
  @EnumSource
  void gradientsAccumulate(NormKind kind) {
    for (int rows : new int[] {6, 0}) {
      try (Norm cpu = builder(kind, 20, Device.CPU).build();
          Norm gpu = builder(kind, 20, GPU).build();
          CudaStream stream = CudaStream.create(GPU);
          NormTensors t = new NormTensors(cpu, rows, false, Layout.DENSE, 1)) {
        double[] start = Values.normal(8, 20);
        t.dweight.copyFrom(start);
        t.dbias.copyFrom(start);
        try (Mirror mirror = t.mirror(GPU)) {
          mirror.upload(stream);
          try (Saved saved = cpu.forward(t.operands());
              Saved remote = gpu.forward(t.operands(mirror).stream(stream))) {
            Gradients adding =
                Gradients.none()
                    .weight(t.dweight, GradientMode.ACCUMULATE)
                    .bias(t.dbias, GradientMode.ACCUMULATE);
            Gradients addingThere =
                Gradients.none()
                    .weight(mirror.apply(t.dweight), GradientMode.ACCUMULATE)
                    .bias(mirror.apply(t.dbias), GradientMode.ACCUMULATE)
                    .stream(stream);
            for (int i = 0; i < 2; i++) {
              cpu.backward(saved, t.dy, adding);
              gpu.backward(remote, mirror.apply(t.dy), addingThere);
              assertArrayEquals(t.dweight.toBytes(), fetch(mirror.apply(t.dweight), stream));
              assertArrayEquals(t.dbias.toBytes(), fetch(mirror.apply(t.dbias), stream));
            }
            gpu.backward(
                remote,
                mirror.apply(t.dy),
                Gradients.none().weight(mirror.apply(t.dweight), GradientMode.WRITE).stream(
                    stream));
            boolean zeros = Arrays.equals(new byte[80], fetch(mirror.apply(t.dweight), stream));
            assertEquals(rows == 0, zeros);
          }
        }
      }
    }
  }

  @Test
  void severalDimensionsAreNormalised() {
    try (LayerNorm cpu = imageNorm(Device.CPU);
        LayerNorm gpu = imageNorm(GPU);
        Arena arena = new Arena()) {
      TensorView x = arena.tensor(FLOAT32, Values.normal(1, 60), 2, 5, 3, 2);
      TensorView weight = arena.tensor(FLOAT32, Values.normal(2, 6), 3, 2);
      TensorView bias = arena.tensor(FLOAT32, Values.normal(3, 6), 3, 2);
      TensorView y = arena.tensor(FLOAT32, 2, 5, 3, 2);
      cpu.infer(x, weight, bias, y);
      byte[] expected = y.toBytes();
      y.copyFrom(new double[60]);
      CudaStream stream = CudaStream.ofDefault(GPU);
      try (Mirror mirror = new Mirror(arena, GPU)) {
        mirror.upload(stream);
        gpu.infer(mirror.apply(x), mirror.apply(weight), mirror.apply(bias), mirror.apply(y));
        try (Saved saved =
            gpu.forward(
                mirror.apply(x), mirror.apply(weight), mirror.apply(bias), mirror.apply(y))) {
          assertEquals(10, saved.rows());
        }
        mirror.download(stream);
        assertArrayEquals(expected, y.toBytes());
        arena.assertGuards();
      }
    }
  }

  private static LayerNorm imageNorm(Device device) {
    return LayerNorm.builder(3, 2).input(FLOAT32).policy(NormPolicy.PYTORCH).device(device).build();
  }

  /** Calls of several threads on one norm, each with its own stream. */
  @Test
  void threadsWithOwnStreams() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try (Norm cpu = builder(NormKind.LAYER_NORM, 128, Device.CPU).build();
        Norm gpu = builder(NormKind.LAYER_NORM, 128, GPU).build()) {
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        int seed = i;
        tasks.add(
            () -> {
              try (NormTensors t = new NormTensors(cpu, 20, true, Layout.DENSE, seed)) {
                for (int round = 0; round < 5; round++) {
                  assertSameBits(cpu, gpu, t, "thread " + seed);
                }
              }
              return null;
            });
      }
      for (Future<Void> done : threads.invokeAll(tasks)) {
        done.get();
      }
    } finally {
      threads.shutdown();
    }
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  /** Tensors on another device, closed or overlapping: the call writes nothing. */
  @ParameterizedTest
  @EnumSource
  void wrongArgumentsAreRefused(NormKind kind) {
    int rows = 3;
    try (Norm gpu = builder(kind, 16, GPU).build();
        Norm cpu = builder(kind, 16, Device.CPU).build();
        CudaStream stream = CudaStream.create(GPU);
        NormTensors t = new NormTensors(cpu, rows, true, Layout.DENSE, 1);
        Mirror mirror = t.mirror(GPU)) {
      t.clear();
      List<byte[]> before = t.results();
      mirror.upload(stream);
      Operands operands = t.operands(mirror).stream(stream);
      Gradients gradients = t.gradients(mirror).stream(stream);
      TensorView dy = mirror.apply(t.dy);
      Device other = Device.cuda(1);
      CudaStream foreign = CudaStream.ofAddress(other, 0);
      CudaStream closed = CudaStream.create(GPU);
      closed.close();
      TensorView dead;
      try (CudaBuffer buffer = CudaBuffer.allocate(GPU, FLOAT32, 16)) {
        dead = buffer.view(FLOAT32, 16);
      }
      TensorView afar = TensorView.ofAddress(4096, FLOAT32, other, 16);

      assertRefused(() -> gpu.infer(t.operands()), "x: is on cpu; expected it on cuda:0");
      assertRefused(() -> gpu.infer(operands.weight(t.weight)), "weight: is on cpu");
      assertRefused(() -> gpu.infer(operands.bias(afar)), "bias: is on cuda:1", "on cuda:0");
      assertRefused(() -> gpu.infer(operands.bias(dead)), "bias: ", "CudaBuffer", "closed");
      assertRefused(() -> gpu.infer(operands.stream(foreign)), "stream: ", "cuda:1", "cuda:0");
      assertRefused(() -> gpu.infer(operands.stream(closed)), "stream: is closed");
      assertRefused(() -> cpu.infer(t.operands().stream(stream)), "stream: ", "on the CPU");
      assertRefused(() -> cpu.infer(operands.stream(null)), "x: is on cuda:0; expected it on cpu");
      TensorView shifted =
          TensorView.ofAddress(operands.x().address() + 32, BFLOAT16, GPU, rows, 16);
      assertRefused(
          () -> gpu.infer(t.operands(view -> view == t.y ? shifted : mirror.apply(view))));

      try (Saved saved = gpu.forward(operands);
          Saved here = cpu.forward(t.operands())) {
        t.clear();
        mirror.upload(stream);
        assertRefused(() -> gpu.backward(here, dy, gradients), "saved: is of another norm");
        assertRefused(() -> gpu.backward(saved, t.dy, gradients), "dy: is on cpu");
        assertRefused(
            () -> gpu.backward(saved, dy, gradients.weight(t.dweight, GradientMode.WRITE)),
            "dweight: is on cpu");
        assertRefused(
            () -> gpu.backward(saved, dy, gradients.bias(dead, GradientMode.WRITE)),
            "dbias: ",
            "closed");
        assertRefused(() -> gpu.backward(saved, dy, gradients.stream(foreign)), "stream: ");
        assertRefused(() -> gpu.backward(saved, dy, gradients.stream(closed)), "stream: is closed");
        assertRefused(
            () -> cpu.backward(here, t.dy, t.gradients().stream(stream)), "stream: ", "CPU");
        assertRefused(
            () -> gpu.backward(saved, dy, gradients.bias(gradients.dweight(), GradientMode.WRITE)),
            "shares memory");
        TensorView mean = kind == NormKind.RMS_NORM ? null : saved.mean();
        TensorView x = mirror.apply(t.residualOut);
        long bytes = gpu.backwardWorkspaceBytes(rows, gradients);
        try (NativeBuffer host = NativeBuffer.allocate(bytes);
            CudaBuffer small = CudaBuffer.allocate(GPU, bytes - 1)) {
          for (OwnedMemory workspace : new OwnedMemory[] {host, small, null}) {
            assertRefused(
                () ->
                    gpu.backward(
                        x, operands.weight(), mean, saved.rstd(), dy, gradients, workspace),
                "workspace: ",
                "expected");
          }
        }
        assertRefused(
            () -> gpu.backward(x, operands.weight(), mean, afar, dy, Gradients.none(), null),
            "rstd: is on cuda:1");
        assertEquals(rows, saved.rows());
      }
      mirror.download(stream);
      t.assertResults(before, "refused calls");
    }
  }

  /** A view with the wrong device: the driver reports the actual one. */
  @Test
  void memoryOfAnotherDeviceIsDetected() {
    if (Cuda.deviceCount() < 2) {
      return;
    }
    try (Norm gpu = builder(NormKind.RMS_NORM, 8, GPU).affine(Affine.NONE).build();
        CudaBuffer near = CudaBuffer.allocate(GPU, FLOAT32, 8);
        CudaBuffer far = CudaBuffer.allocate(Device.cuda(1), BFLOAT16, 8)) {
      TensorView x = TensorView.ofAddress(far.address(), BFLOAT16, GPU, 8);
      assertRefused(
          () -> gpu.infer(Operands.of(x, near.view(gpu.outputDType(), 8))), "x: ", "device 1");
    }
  }

  @ParameterizedTest
  @EnumSource
  void closedNormsAndSavedRefuseCalls(NormKind kind) {
    try (Norm cpu = builder(kind, 16, Device.CPU).build();
        NormTensors t = new NormTensors(cpu, 3, false, Layout.DENSE, 1);
        Mirror mirror = t.mirror(GPU)) {
      Norm gpu = builder(kind, 16, GPU).build();
      CudaStream stream = CudaStream.ofDefault(GPU);
      mirror.upload(stream);
      Operands operands = t.operands(mirror);
      Gradients gradients = t.gradients(mirror);
      TensorView dy = mirror.apply(t.dy);
      Saved saved = gpu.forward(operands);
      Saved kept = gpu.forward(operands);
      TensorView rstd = saved.rstd();
      saved.close();
      saved.close();
      assertThrows(IllegalStateException.class, () -> gpu.backward(saved, dy, gradients));
      assertThrows(IllegalStateException.class, () -> gpu.forward(operands, saved));
      try (NativeBuffer host = NativeBuffer.allocate(FLOAT32, 3)) {
        TensorView target = host.view(FLOAT32, 3);
        assertRefused(() -> target.copyFrom(rstd, stream), "source: ", "CudaBuffer", "closed");
      }
      gpu.close();
      gpu.close();
      assertThrows(IllegalStateException.class, () -> gpu.infer(operands));
      assertThrows(IllegalStateException.class, () -> gpu.backward(kept, dy, gradients));
      assertThrows(IllegalStateException.class, () -> gpu.newSaved(1));
      assertEquals(3, fetch(kept.rstd(), stream).length / 4);
      kept.close();
    }
  }

  @Test
  void missingDevicesAreRefused() {
    Device absent = Device.cuda(Cuda.deviceCount());
    assertRefused(
        () -> builder(NormKind.RMS_NORM, 8, absent).build(), "device: " + absent, "cuda:0");
    assertRefused(() -> Cuda.device(absent), "device: " + absent);
    assertRefused(() -> CudaStream.create(absent), "device: " + absent);
    assertRefused(() -> CudaBuffer.allocate(absent, 1), "device: " + absent);
    try (Norm gpu = builder(NormKind.RMS_NORM, 8, GPU).build()) {
      assertThrows(OutOfMemoryError.class, () -> gpu.newSaved(1L << 55));
    }
  }

  @Test
  void kernelsAreListed() {
    try (Norm norm = builder(NormKind.LAYER_NORM, 4096, GPU).build();
        Norm onCpu = builder(NormKind.LAYER_NORM, 4096, Device.CPU).build()) {
      List<String> lines = norm.kernels();
      List<String> roles =
          lines.stream().map(line -> line.substring(0, line.indexOf(": norm_"))).toList();
      assertEquals(
          List.of(
              "forward aligned",
              "forward aligned residual",
              "forward unaligned",
              "forward unaligned residual",
              "backward aligned",
              "backward aligned residual",
              "backward unaligned",
              "backward unaligned residual"),
          roles);
      assertTrue(lines.stream().noneMatch(line -> line.contains("left out")), lines::toString);
      assertEquals(List.of(), onCpu.kernels());
    }
    Norm closed = builder(NormKind.LAYER_NORM, 4096, GPU).build();
    closed.close();
    assertThrows(IllegalStateException.class, closed::kernels);
  }
}
