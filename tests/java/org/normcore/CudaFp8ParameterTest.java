package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT8_E4M3;
import static org.normcore.DType.FLOAT8_E5M2;

import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.internal.Capi;
import org.normcore.testing.Arena;
import org.normcore.testing.Mirror;
import org.normcore.testing.NativeMemory;
import org.normcore.testing.NeedsCuda;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;
import org.normcore.testing.Values;

/** FP8 parameters on a CUDA device have the same bits as on the CPU, wherever they were created. */
@NeedsCuda
class CudaFp8ParameterTest {
  private static final Device GPU = Device.cuda(0);
  private static final List<DType> WIDE = List.of(FLOAT32, BFLOAT16, FLOAT16);

  @BeforeAll
  static void settle() throws InterruptedException {
    NativeMemory.settle();
  }

  private static List<Fp8Spec> recipes(DType format) {
    Fp8Spec.Builder builder = Fp8Spec.builder(format).initialValue(InitialValue.KEEP_UNTIL_CLEARED);
    return List.of(
        builder.build(),
        builder.margin(1).powerOfTwo(true).build(),
        builder.delayedScaling(2).build(),
        builder.margin(0).powerOfTwo(false).givenScale(19).build(),
        builder.mxfp8().build());
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  /** The bytes of a tensor on a device, or on the host. */
  private static byte[] fetch(TensorView view, CudaStream stream) {
    if (view.device().isCpu()) {
      return view.toBytes();
    }
    try (NativeBuffer buffer = NativeBuffer.allocate(view.dtype(), view.shape())) {
      TensorView host = buffer.view(view.dtype(), view.shape()).copyFrom(view, stream);
      stream.synchronize();
      return host.toBytes();
    }
  }

  private static void assertSameBits(Fp8Parameter cpu, Fp8Parameter other, CudaStream stream) {
    assertArrayEquals(cpu.data().toBytes(), fetch(other.data(), stream), cpu.toString());
    assertArrayEquals(cpu.scaleInv().toBytes(), fetch(other.scaleInv(), stream), cpu.toString());
    if (cpu.spec().scaling() == Fp8Scaling.TENSOR) {
      assertArrayEquals(cpu.scale().toBytes(), fetch(other.scale(), stream), cpu.toString());
      assertArrayEquals(cpu.amax().toBytes(), fetch(other.amax(), stream), cpu.toString());
    }
  }

  /** From the host to the device, from the device to the device and to the host. */
  @ParameterizedTest
  @EnumSource(names = {"FLOAT8_E4M3", "FLOAT8_E5M2"})
  void bitsDoNotDependOnTheDevice(DType format) {
    for (Fp8Spec spec : recipes(format)) {
      for (DType dtype : WIDE) {
        for (int columns : new int[] {1, 33, 64}) {
          try (Arena arena = new Arena();
              CudaStream stream = CudaStream.create(GPU)) {
            TensorView source = arena.tensor(2, 3, dtype, 11, columns);
            source.copyFrom(Values.normal(columns, 11L * columns, 0, 0.02));
            TensorView back = arena.tensor(1, 1, dtype, 11, columns);
            try (Mirror mirror = new Mirror(arena, GPU);
                Fp8Parameter cpu = Fp8Parameter.quantize(source, spec)) {
              mirror.upload(stream);
              TensorView remote = mirror.apply(source);
              try (Fp8Parameter up = Fp8Parameter.quantize(source, spec, null, GPU, stream);
                  Fp8Parameter there = Fp8Parameter.quantize(remote, spec, null, GPU, stream);
                  Fp8Parameter byDefault = Fp8Parameter.quantize(remote, spec);
                  Fp8Parameter down =
                      Fp8Parameter.quantize(remote, spec, null, Device.CPU, stream)) {
                for (Fp8Parameter each : List.of(up, there, byDefault, down)) {
                  assertEquals(each == down ? Device.CPU : GPU, each.device());
                  assertSameBits(cpu, each, stream);
                  assertArrayEquals(source.toBytes(), each.initialValue().toBytes());
                  assertEquals(Device.CPU, each.initialValue().device());
                }
                cpu.dequantize(back);
                byte[] expected = back.toBytes();
                back.copyFrom(new double[11 * columns]);
                there.dequantize(mirror.apply(back), stream);
                mirror.download(stream);
                assertArrayEquals(expected, back.toBytes());
                arena.assertGuards();
              }
            }
          }
        }
      }
    }
  }

  /**
   * Updates with a history, with the parameter's own amax and with a reduced amax, and copies of
   * them.
   */
  @ParameterizedTest
  @EnumSource(names = {"FLOAT8_E4M3", "FLOAT8_E5M2"})
  void updatesGiveTheCpusBits(DType format) {
    for (Fp8Spec spec : recipes(format)) {
      boolean reducible = spec.recipe() == Fp8Recipe.CURRENT || spec.recipe() == Fp8Recipe.DELAYED;
      try (Arena arena = new Arena();
          CudaStream stream = CudaStream.create(GPU)) {
        TensorView master = arena.tensor(BFLOAT16, Values.normal(0, 120, 0, 0.02), 3, 40);
        TensorView amax = arena.tensor(FLOAT32, 1);
        try (Mirror mirror = new Mirror(arena, GPU);
            Fp8Parameter cpu = Fp8Parameter.quantize(master, spec)) {
          mirror.upload(stream);
          TensorView remote = mirror.apply(master);
          try (Fp8Parameter gpu = Fp8Parameter.quantize(remote, spec, null, GPU, stream)) {
            assertSameBits(cpu, gpu, stream);
            final TensorView copy = gpu.dequantized(FLOAT32, stream);
            for (int step = 1; step < 7; step++) {
              master.copyFrom(Values.normal(step, 120, 0, Math.pow(3, step % 4)));
              amax.copyFrom(new float[] {100f * step});
              mirror.upload(stream);
              long allocated = Capi.allocatedBytes();
              if (reducible && step % 2 == 0) {
                cpu.update(master, amax);
                gpu.update(remote, mirror.apply(amax), stream);
              } else {
                cpu.update(master);
                gpu.update(remote, null, stream);
              }
              assertEquals(allocated, Capi.allocatedBytes());
              assertSameBits(cpu, gpu, stream);
              byte[] expected = cpu.dequantized(FLOAT32).toBytes();
              assertArrayEquals(expected, fetch(copy, stream));
              assertSame(copy, gpu.dequantized(FLOAT32));
            }
          }
          mirror.download(stream);
          arena.assertGuards();
        }
      }
    }
  }

  @Test
  void amaxesAreComputedOnTheDevice() {
    try (Arena arena = new Arena();
        CudaStream stream = CudaStream.create(GPU)) {
      TensorView x = arena.tensor(FLOAT16, Values.normal(3, 1000), 10, 100);
      TensorView amax = arena.tensor(FLOAT32, 1).copyFrom(new float[] {1e30f});
      try (Mirror mirror = new Mirror(arena, GPU)) {
        mirror.upload(stream);
        Fp8Parameter.amax(mirror.apply(x), mirror.apply(amax), stream);
        mirror.download(stream);
        assertEquals(Fp8Parameter.amax(x), amax.toFloats()[0]);
        // Passed back in: the scale of a larger tensor.
        amax.copyFrom(new float[] {77});
        mirror.upload(stream);
        Fp8Spec spec = Fp8Spec.builder(FLOAT8_E4M3).build();
        try (Fp8Parameter cpu = Fp8Parameter.quantize(x, spec, amax);
            Fp8Parameter gpu =
                Fp8Parameter.quantize(mirror.apply(x), spec, mirror.apply(amax), GPU, stream);
            Fp8Parameter up = Fp8Parameter.quantize(x, spec, amax, GPU, null)) {
          assertSameBits(cpu, gpu, stream);
          assertSameBits(cpu, up, stream);
        }
        assertThrows(UnsupportedOperationException.class, () -> Fp8Parameter.amax(mirror.apply(x)));
        assertRefused(() -> Fp8Parameter.amax(mirror.apply(x), amax, stream), "target: is on cpu");
        assertRefused(
            () -> Fp8Parameter.quantize(mirror.apply(x), spec, amax), "reducedAmax: is on cpu");
      }
    }
  }

  /** A move to the device and back keeps bits, scales, history and initial value. */
  @Test
  void movesKeepEverything() {
    for (Fp8Spec spec : recipes(FLOAT8_E4M3)) {
      try (Arena arena = new Arena();
          CudaStream stream = CudaStream.create(GPU)) {
        TensorView source = arena.tensor(BFLOAT16, Values.normal(1, 200), 5, 40);
        TensorView next = arena.tensor(FLOAT32, Values.normal(2, 200, 0, 0.02), 5, 40);
        long before = Capi.allocatedBytes();
        try (Fp8Parameter stays = Fp8Parameter.quantize(source, spec);
            Fp8Parameter moves = Fp8Parameter.quantize(source, spec);
            Mirror mirror = new Mirror(arena, GPU)) {
          mirror.upload(stream);
          // The largest amax of the history is the oldest: it must be dropped at exactly the right
          // step.
          stays.update(next);
          moves.update(next);
          final TensorView data = moves.data();
          final TensorView copy = moves.dequantized(FLOAT32);
          final TensorView value = moves.initialValue();
          assertSame(moves, moves.to(GPU, stream));
          assertEquals(GPU, moves.device());
          assertRefused(data::toBytes, "closed");
          assertRefused(copy::toBytes, "closed");
          assertRefused(value::toBytes, "closed");
          assertSameBits(stays, moves, stream);
          assertArrayEquals(source.toBytes(), moves.initialValue().toBytes());
          assertSame(moves, moves.to(GPU));
          stays.update(next);
          moves.update(mirror.apply(next), null, stream);
          assertSameBits(stays, moves, stream);
          TensorView kept = moves.initialValue();
          moves.to(Device.CPU, stream);
          assertEquals(Device.CPU, moves.device());
          assertSameBits(stays, moves, stream);
          assertArrayEquals(source.toBytes(), kept.toBytes());
          stays.update(source);
          moves.update(source);
          assertSameBits(stays, moves, stream);
          assertArrayEquals(
              stays.dequantized(FLOAT32).toBytes(), moves.dequantized(FLOAT32).toBytes());
          moves.clearInitialValue();
          assertThrows(IllegalStateException.class, moves::initialValue);
          moves.to(GPU);
          assertThrows(IllegalStateException.class, moves::initialValue);
        }
        assertEquals(before, Capi.allocatedBytes(), spec.toString());
      }
    }
  }

  /** From each device to each other, if there are several. */
  @Test
  void movesBetweenDevices() {
    Fp8Spec spec =
        Fp8Spec.builder(FLOAT8_E4M3).initialValue(InitialValue.KEEP_UNTIL_CLEARED).build();
    try (Arena arena = new Arena()) {
      TensorView source = arena.tensor(FLOAT32, Values.normal(1, 200, 0, 0.02), 5, 40);
      for (CudaDevice from : Cuda.devices()) {
        for (CudaDevice to : Cuda.devices()) {
          CudaStream first = CudaStream.ofDefault(from.device());
          CudaStream last = CudaStream.ofDefault(to.device());
          try (Mirror mirror = new Mirror(arena, from.device());
              Fp8Parameter cpu = Fp8Parameter.quantize(source, spec)) {
            mirror.upload(first);
            TensorView remote = mirror.apply(source);
            try (Fp8Parameter made = Fp8Parameter.quantize(remote, spec, null, to.device(), first);
                Fp8Parameter moved = Fp8Parameter.quantize(remote, spec)) {
              assertEquals(to.device(), made.device());
              assertSameBits(cpu, made, last);
              moved.to(to.device());
              assertEquals(to.device(), moved.device());
              assertSameBits(cpu, moved, last);
              assertArrayEquals(source.toBytes(), moved.initialValue().toBytes());
            }
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void initialValuesAreGivenBack(InitialValue mode) {
    try (Arena arena = new Arena();
        CudaStream stream = CudaStream.create(GPU)) {
      TensorView source = arena.tensor(FLOAT32, Values.normal(1, 200, 0, 0.02), 5, 40);
      Fp8Spec spec = Fp8Spec.builder(FLOAT8_E4M3).initialValue(mode).build();
      try (Mirror mirror = new Mirror(arena, GPU)) {
        mirror.upload(stream);
        long before = Capi.allocatedBytes();
        for (TensorView from : List.of(source, mirror.apply(source))) {
          try (Fp8Parameter parameter = Fp8Parameter.quantize(from, spec, null, GPU, stream)) {
            long kept = mode == InitialValue.DISCARD ? 0 : 800;
            assertEquals(before + kept, Capi.allocatedBytes());
            if (kept > 0) {
              assertArrayEquals(source.toBytes(), parameter.initialValue().toBytes());
              try (Fp8Parameter again =
                  Fp8Parameter.quantize(parameter.initialValue(), spec, null, GPU, stream)) {
                assertArrayEquals(fetch(parameter.data(), stream), fetch(again.data(), stream));
              }
            }
            parameter.markForward();
            long left = mode == InitialValue.KEEP_UNTIL_CLEARED ? 800 : 0;
            assertEquals(before + left, Capi.allocatedBytes());
            parameter.clearInitialValue();
            assertEquals(before, Capi.allocatedBytes());
            assertFalse(parameter.hasInitialValue());
          }
          Fp8Parameter.quantize(from, spec, null, GPU, stream).close();
          assertEquals(before, Capi.allocatedBytes());
        }
      }
    }
  }

  @Test
  void masterWeightsAreOnTheDevice() {
    for (DType dtype : WIDE) {
      try (Arena arena = new Arena();
          CudaStream stream = CudaStream.create(GPU)) {
        TensorView source = arena.tensor(dtype, Values.normal(1, 200, 0, 0.02), 5, 40);
        TensorView exact = arena.tensor(FLOAT32, 5, 40).copyFrom(source);
        TensorView lossy = arena.tensor(FLOAT32, 5, 40);
        Fp8Spec spec =
            Fp8Spec.builder(FLOAT8_E5M2).initialValue(InitialValue.KEEP_UNTIL_CLEARED).build();
        long before = Capi.allocatedBytes();
        try (Fp8Parameter cpu = Fp8Parameter.quantize(source, spec);
            Fp8Parameter gpu = Fp8Parameter.quantize(source, spec, null, GPU, stream)) {
          cpu.dequantize(lossy);
          try (MasterWeights master = gpu.masterWeights(stream)) {
            assertEquals(MasterWeights.Origin.FROM_INITIAL_VALUE, master.origin());
            assertEquals(GPU, master.values().device());
            assertArrayEquals(exact.toBytes(), fetch(master.values(), stream));
          }
          gpu.clearInitialValue();
          try (MasterWeights master = gpu.masterWeights()) {
            assertEquals(MasterWeights.Origin.FROM_FP8, master.origin());
            assertArrayEquals(lossy.toBytes(), fetch(master.values(), stream));
          }
        }
        assertEquals(before, Capi.allocatedBytes());
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void normsUseTheParameterAsWeight(NormKind kind) {
    for (Fp8Spec spec : recipes(FLOAT8_E4M3)) {
      Fp8Spec used = spec.toBuilder().initialValue(InitialValue.KEEP_UNTIL_FIRST_FORWARD).build();
      try (Norm cpu = norm(kind, Device.CPU);
          Norm gpu = norm(kind, GPU);
          Arena arena = new Arena();
          NormTensors t = new NormTensors(cpu, 4, false, Layout.DENSE, 1);
          Mirror mirror = t.mirror(GPU);
          CudaStream stream = CudaStream.create(GPU)) {
        TensorView source = arena.tensor(FLOAT32, Values.normal(1, 72, 1, 0.2), 72);
        try (Fp8Parameter here = Fp8Parameter.quantize(source, used);
            Fp8Parameter there = Fp8Parameter.quantize(source, used, null, GPU, stream)) {
          List<byte[]> expected = new ArrayList<>();
          Gradients gradients = t.gradients();
          try (Saved saved = cpu.forward(Operands.of(t.x, t.y).fp8Weight(here))) {
            cpu.backward(saved, t.dy, gradients);
            expected = t.results();
          }
          t.clear();
          mirror.upload(stream);
          Operands remote = Operands.of(mirror.apply(t.x), mirror.apply(t.y)).stream(stream);
          assertRefused(() -> gpu.infer(remote.fp8Weight(here)), "weight: is on cpu", "cuda:0");
          assertTrue(there.hasInitialValue());
          try (Saved saved = gpu.forward(remote.fp8Weight(there))) {
            assertFalse(there.hasInitialValue());
            gpu.backward(saved, mirror.apply(t.dy), t.gradients(mirror).stream(stream));
            mirror.download(stream);
          }
          t.assertResults(expected, spec.toString());
          gpu.infer(remote.fp8Weight(there));
          mirror.download(stream);
          t.assertResults(expected, spec.toString());
        }
      }
    }
  }

  private static Norm norm(NormKind kind, Device device) {
    return NormTensors.builder(
            kind, 72, BFLOAT16, BFLOAT16, Affine.WEIGHT, NormPolicy.HUGGING_FACE_LLAMA)
        .device(device)
        .build();
  }

  @Test
  void tensorsOnOtherDevicesAreRefused() {
    try (Arena arena = new Arena();
        CudaStream stream = CudaStream.create(GPU)) {
      TensorView source = arena.tensor(FLOAT32, Values.normal(1, 12), 3, 4);
      Fp8Spec spec = Fp8Spec.builder(FLOAT8_E4M3).build();
      Device absent = Device.cuda(Cuda.deviceCount());
      assertRefused(
          () -> Fp8Parameter.quantize(source, spec, null, absent, null), "device: " + absent);
      CudaStream far = CudaStream.ofDefault(absent);
      assertRefused(() -> Fp8Parameter.quantize(source, spec, null, GPU, far), "stream: ");
      CudaStream gone = CudaStream.create(GPU);
      gone.close();
      try (Fp8Parameter gpu = Fp8Parameter.quantize(source, spec, null, GPU, stream);
          Fp8Parameter cpu = Fp8Parameter.quantize(source, spec)) {
        byte[] codes = fetch(gpu.data(), stream);
        assertRefused(() -> gpu.update(source), "master: is on cpu", "cuda:0");
        assertRefused(() -> gpu.dequantize(source), "target: is on cpu", "cuda:0");
        assertRefused(() -> gpu.dequantized(FLOAT32, gone), "stream: is closed");
        assertRefused(() -> gpu.masterWeights(far), "stream: ");
        assertRefused(() -> gpu.to(Device.CPU, gone), "stream: is closed");
        assertRefused(() -> cpu.to(absent), "device: " + absent);
        assertRefused(() -> cpu.to(GPU, far), "stream: ");
        assertArrayEquals(codes, fetch(gpu.data(), stream));
        assertArrayEquals(codes, cpu.data().toBytes());
      }
    }
  }
}
