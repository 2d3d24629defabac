package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;

import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.normcore.testing.Arena;
import org.normcore.testing.Mirror;
import org.normcore.testing.NeedsCuda;
import org.normcore.testing.RotaryModel.Heads;

/** Rotary position embedding on a CUDA device gives the same bits as on the CPU. */
@NeedsCuda
class CudaRotaryTest {
  private static final Device GPU = Device.cuda(0);

  private static Rotary.Builder builder(RotaryTest.Form form, int headDim) {
    return Rotary.builder(headDim)
        .dtype(form.dtype())
        .tableDType(form.table())
        .layout(form.layout())
        .rounding(form.rounding());
  }

  private static RotaryTable.Builder tables(int rotaryDim, DType dtype) {
    return RotaryTable.builder(RotarySpec.builder(rotaryDim).build()).dtype(dtype);
  }

  static Stream<RotaryTest.Form> forms() {
    return RotaryTest.forms();
  }

  /** The same heads on the device. */
  private static HeadsView mirrored(HeadsView view, TensorView memory, Mirror mirror) {
    TensorView remote = mirror.apply(memory);
    long offset = (view.address() - memory.address()) / memory.dtype().bytes();
    return HeadsView.of(remote, offset, view.shape(), view.strides());
  }

  private static byte[] fetch(TensorView remote, CudaStream stream) {
    try (NativeBuffer buffer = NativeBuffer.allocate(remote.dtype(), remote.shape())) {
      TensorView host = buffer.view(remote.dtype(), remote.shape()).copyFrom(remote, stream);
      stream.synchronize();
      return host.toBytes();
    }
  }

  /** Forward and backward, shapes, strides, partial heads, tables for all batches and for each. */
  @ParameterizedTest
  @MethodSource("forms")
  void everyFormGivesTheCpusBits(RotaryTest.Form form) {
    int[][] dims = {{2, 2}, {34, 18}, {64, 64}, {80, 32}, {257, 256}};
    int turn = 0;
    for (int[] dim : dims) {
      turn++;
      int batch = 1 + turn % 3;
      int seq = 3 + turn % 5;
      long[][] positions = new long[batch][seq];
      for (int b = 0; b < batch; b++) {
        for (int s = 0; s < seq; s++) {
          positions[b][s] = 1000L * b + 37L * s;
        }
      }
      boolean perBatch = turn % 2 == 0;
      RotaryTable.Builder tables = tables(dim[1], form.table());
      try (Arena arena = new Arena();
          RotaryTable near = perBatch ? tables.positions(positions) : tables.range(5, seq);
          RotaryTable far =
              perBatch
                  ? tables.device(GPU).positions(positions)
                  : tables.device(GPU).range(5, seq);
          Rotary cpu = builder(form, dim[0]).rotaryDim(dim[1]).build();
          Rotary gpu = builder(form, dim[0]).rotaryDim(dim[1]).device(GPU).build();
          CudaStream stream = CudaStream.create(GPU)) {
        assertArrayEquals(near.cos().toBytes(), fetch(far.cos(), stream));
        assertArrayEquals(near.sin().toBytes(), fetch(far.sin(), stream));
        long[] shape = {batch, seq, 8, dim[0]};
        Heads x = Heads.random(arena, form.dtype(), turn % 2 == 0, 1, turn, turn, shape);
        Heads y = Heads.random(arena, form.dtype(), turn % 3 == 0, 0, 0, -turn, shape);
        HeadsView q = x.view().heads(0, 5);
        HeadsView k = x.view().heads(5, 7);
        HeadsView qOut = y.view().heads(0, 5);
        try (Mirror mirror = new Mirror(arena, GPU)) {
          mirror.upload(stream);
          HeadsView gpuQ = mirrored(q, x.memory(), mirror);
          HeadsView gpuK = mirrored(k, x.memory(), mirror);
          HeadsView gpuQOut = mirrored(qOut, y.memory(), mirror);
          // Queries out of place, keys in place; then the backward.
          cpu.forward(near, q, qOut, k, k);
          cpu.backward(near, qOut, q, k, k);
          cpu.forward(near, q, q);
          cpu.backward(near, k, k);
          List<byte[]> expected = arena.snapshot();
          gpu.forward(far, gpuQ, gpuQOut, gpuK, gpuK, stream);
          gpu.backward(far, gpuQOut, gpuQ, gpuK, gpuK, stream);
          gpu.forward(far, gpuQ, gpuQ, stream);
          gpu.backward(far, gpuK, gpuK, stream);
          mirror.download(stream);
          arena.assertUnchanged(expected, gpu + ", which");
          arena.assertGuards();
        }
      }
    }
  }

  /** Without a stream, in the device's default stream, and with slices of a long table. */
  @ParameterizedTest
  @EnumSource
  void decodingInTheDefaultStream(RotaryLayout layout) {
    RotaryTest.Form form = new RotaryTest.Form(BFLOAT16, FLOAT32, layout, RotaryRounding.COMPUTE);
    try (Arena arena = new Arena();
        RotaryTable near = tables(64, FLOAT32).range(0, 100);
        RotaryTable far = tables(64, FLOAT32).device(GPU).range(0, 100);
        Rotary cpu = builder(form, 64).build();
        Rotary gpu = builder(form, 64).device(GPU).build()) {
      Heads x = Heads.random(arena, BFLOAT16, true, 0, 0, 1, 2, 6, 4, 64);
      CudaStream stream = CudaStream.ofDefault(GPU);
      try (Mirror mirror = new Mirror(arena, GPU)) {
        mirror.upload(stream);
        HeadsView remote = mirrored(x.view(), x.memory(), mirror);
        for (int s = 0; s < 6; s++) {
          cpu.forward(
              near.slice(90 + s, 91 + s), x.view().tokens(s, s + 1), x.view().tokens(s, s + 1));
          gpu.forward(far.slice(90 + s, 91 + s), remote.tokens(s, s + 1), remote.tokens(s, s + 1));
        }
        List<byte[]> expected = arena.snapshot();
        mirror.download(stream);
        arena.assertUnchanged(expected, "the device");
      }
    }
  }

  /** Calls allocate nothing on the Java heap, after a warm-up on one small head. */
  @Test
  void callsAllocateNothing() {
    RotaryTest.Form form =
        new RotaryTest.Form(BFLOAT16, BFLOAT16, RotaryLayout.HALF_SPLIT, RotaryRounding.INPUT);
    try (Arena arena = new Arena();
        RotaryTable table = tables(4, BFLOAT16).device(GPU).range(0, 1);
        Rotary gpu = builder(form, 4).device(GPU).build();
        CudaStream stream = CudaStream.create(GPU)) {
      Heads x = Heads.random(arena, BFLOAT16, true, 0, 0, 1, 1, 1, 1, 4);
      try (Mirror mirror = new Mirror(arena, GPU)) {
        mirror.upload(stream);
        HeadsView remote = mirrored(x.view(), x.memory(), mirror);
        Runnable call =
            () -> {
              gpu.forward(table, remote, remote, stream);
              gpu.backward(table, remote, remote);
            };
        for (int i = 0; i < 5_000; i++) {
          call.run();
        }
        assertEquals(
            0, NormAllocationTest.leastAllocatedBy(Set.of(Thread.currentThread()), 500, call));
        stream.synchronize();
      }
    }
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void wrongDevicesAndStreamsAreRefused() {
    RotaryTest.Form form =
        new RotaryTest.Form(FLOAT16, FLOAT16, RotaryLayout.HALF_SPLIT, RotaryRounding.INPUT);
    Device other = Device.cuda(1);
    Device absent = Device.cuda(Cuda.deviceCount());
    assertRefused(() -> builder(form, 8).device(absent).build(), "device: " + absent);
    assertRefused(
        () -> tables(8, FLOAT16).device(absent).range(0, 1), "device: " + absent, "cuda:0");
    try (Arena arena = new Arena();
        RotaryTable near = tables(8, FLOAT16).range(0, 2);
        RotaryTable far = tables(8, FLOAT16).device(GPU).range(0, 2);
        Rotary gpu = builder(form, 8).device(GPU).build();
        CudaStream stream = CudaStream.create(GPU)) {
      Heads x = Heads.random(arena, FLOAT16, true, 0, 0, 1, 1, 2, 3, 8);
      List<byte[]> before = arena.snapshot();
      try (Mirror mirror = new Mirror(arena, GPU)) {
        mirror.upload(stream);
        HeadsView remote = mirrored(x.view(), x.memory(), mirror);
        CudaStream closed = CudaStream.create(GPU);
        closed.close();
        assertRefused(() -> gpu.forward(near, remote, remote), "table: is on cpu", "cuda:0");
        assertRefused(() -> gpu.forward(far, x.view(), remote), "x: is on cpu", "cuda:0");
        assertRefused(() -> gpu.forward(far, remote, x.view()), "y: is on cpu", "cuda:0");
        assertRefused(
            () -> gpu.forward(far, remote, remote, CudaStream.ofAddress(other, 0)),
            "stream: ",
            "cuda:0");
        assertRefused(() -> gpu.forward(far, remote, remote, closed), "stream: is closed");
        assertEquals(GPU, far.device());
        assertTrue(far.toString().contains("cuda:0"), far.toString());
        assertThrows(UnsupportedOperationException.class, () -> far.cos().toFloats());
        RotaryTable dead = tables(8, FLOAT16).device(GPU).range(0, 2);
        dead.close();
        assertRefused(() -> gpu.forward(dead, remote, remote), "table: ", "CudaBuffer", "closed");
        mirror.download(stream);
      }
      arena.assertUnchanged(before, "a refused call");
    }
  }
}
