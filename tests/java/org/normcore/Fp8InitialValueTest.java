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
import static org.normcore.InitialValue.DISCARD;
import static org.normcore.InitialValue.KEEP_UNTIL_CLEARED;
import static org.normcore.InitialValue.KEEP_UNTIL_FIRST_FORWARD;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.internal.Capi;
import org.normcore.testing.Arena;
import org.normcore.testing.NativeMemory;
import org.normcore.testing.Values;

/** The initial values of FP8 parameters, byte by byte. */
@Timeout(120)
class Fp8InitialValueTest {
  private static final List<DType> WIDE = List.of(FLOAT32, BFLOAT16, FLOAT16);

  @BeforeAll
  static void settle() throws InterruptedException {
    NativeMemory.settle();
  }

  private static Fp8Spec spec(InitialValue initialValue) {
    return Fp8Spec.builder(FLOAT8_E4M3).initialValue(initialValue).build();
  }

  private static void assertGone(Fp8Parameter parameter, String reason) {
    assertFalse(parameter.hasInitialValue());
    String message =
        assertThrows(IllegalStateException.class, parameter::initialValue).getMessage();
    assertTrue(message.contains(reason) && message.contains("expected"), message);
  }

  @ParameterizedTest
  @EnumSource
  void keepsTheExpectedNumberOfBytes(InitialValue mode) {
    for (DType dtype : WIDE) {
      try (Arena arena = new Arena()) {
        TensorView source = arena.tensor(1, 3, dtype, 7, 33).copyFrom(Values.normal(1, 231));
        long before = Capi.allocatedBytes();
        Fp8Parameter discarding = Fp8Parameter.quantize(source, spec(DISCARD));
        final long bare = Capi.allocatedBytes() - before;
        discarding.close();
        assertEquals(before, Capi.allocatedBytes());
        // Quantised bits, padding, and a few numbers.
        assertTrue(bare >= 231 && bare < 231 + 64 + 64, bare + " bytes");
        long values = mode == DISCARD ? 0 : 231L * dtype.bytes();
        try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec(mode))) {
          assertEquals(before + bare + values, Capi.allocatedBytes());
          assertEquals(mode != DISCARD, parameter.hasInitialValue());
          parameter.markForward();
          long left = mode == KEEP_UNTIL_CLEARED ? values : 0;
          assertEquals(before + bare + left, Capi.allocatedBytes());
          parameter.clearInitialValue();
          assertEquals(before + bare, Capi.allocatedBytes());
          parameter.clearInitialValue();
          parameter.markForward();
          assertEquals(before + bare, Capi.allocatedBytes());
        }
        assertEquals(before, Capi.allocatedBytes());
        // Closing frees an initial value that was not cleared.
        Fp8Parameter.quantize(source, spec(mode)).close();
        assertEquals(before, Capi.allocatedBytes());
      }
    }
  }

  @Test
  void exceptionsStateWhyTheValueIsGone() {
    try (Arena arena = new Arena()) {
      TensorView source = arena.tensor(FLOAT32, 4, 4).copyFrom(Values.normal(1, 16));
      try (Fp8Parameter discarding = Fp8Parameter.quantize(source, spec(DISCARD))) {
        assertGone(discarding, "DISCARD");
        discarding.clearInitialValue();
        assertGone(discarding, "DISCARD");
      }
      try (Fp8Parameter cleared = Fp8Parameter.quantize(source, spec(KEEP_UNTIL_CLEARED))) {
        cleared.markForward();
        assertTrue(cleared.hasInitialValue());
        cleared.clearInitialValue();
        assertGone(cleared, "cleared");
      }
      try (Fp8Parameter used = Fp8Parameter.quantize(source, spec(KEEP_UNTIL_FIRST_FORWARD))) {
        used.markForward();
        assertGone(used, "first forward");
        used.clearInitialValue();
        assertGone(used, "first forward");
      }
      try (Fp8Parameter early = Fp8Parameter.quantize(source, spec(KEEP_UNTIL_FIRST_FORWARD))) {
        early.clearInitialValue();
        early.markForward();
        assertGone(early, "cleared");
      }
      Fp8Parameter closed = Fp8Parameter.quantize(source, spec(KEEP_UNTIL_CLEARED));
      TensorView view = closed.initialValue();
      closed.close();
      assertThrows(IllegalStateException.class, closed::initialValue);
      assertThrows(IllegalArgumentException.class, view::toFloats);
      closed.clearInitialValue();
      closed.markForward();
    }
  }

  /** All bit patterns of a 16-bit format, including NaNs, from rows with gaps at an odd address. */
  @ParameterizedTest
  @EnumSource(names = {"BFLOAT16", "FLOAT16"})
  void bitsAreKept(DType dtype) {
    ByteBuffer bits = ByteBuffer.allocateDirect(2 * 256 * 259 + 1);
    bits.order(ByteOrder.nativeOrder());
    byte[] expected = new byte[2 << 16];
    ByteBuffer dense = ByteBuffer.wrap(expected).order(ByteOrder.nativeOrder());
    for (int i = 0; i < 1 << 16; i++) {
      bits.putShort(1 + 2 * (i / 256 * 259 + i % 256), (short) i);
      dense.putShort(2 * i, (short) i);
    }
    TensorView source = TensorView.of(bits.position(1), dtype, 256, 256).withRowStride(259);
    try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec(KEEP_UNTIL_CLEARED))) {
      for (int i = 0; i < 3; i++) {
        TensorView value = parameter.initialValue();
        assertEquals(dtype, value.dtype());
        assertEquals(Device.CPU, value.device());
        assertTrue(value.isContiguous());
        assertArrayEquals(new long[] {256, 256}, value.shape());
        assertArrayEquals(expected, value.toBytes());
      }
    }
  }

  @Test
  void isIndependentOfTheSource() {
    try (Arena arena = new Arena()) {
      TensorView source = arena.tensor(FLOAT32, 3, 3).copyFrom(Values.normal(1, 9));
      byte[] before = source.toBytes();
      try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec(KEEP_UNTIL_CLEARED))) {
        source.copyFrom(new float[9]);
        assertArrayEquals(before, parameter.initialValue().toBytes());
        parameter.update(source);
        assertArrayEquals(before, parameter.initialValue().toBytes());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"FLOAT8_E4M3", "FLOAT8_E5M2"})
  void quantisingItAgainGivesTheStoredBits(DType format) {
    Fp8Spec.Builder builder = Fp8Spec.builder(format).initialValue(KEEP_UNTIL_CLEARED);
    List<Fp8Spec> specs =
        List.of(
            builder.build(),
            builder.margin(3).build(),
            builder.powerOfTwo(true).build(),
            builder.delayedScaling(5).build(),
            builder.margin(0).powerOfTwo(false).givenScale(11).build(),
            builder.mxfp8().build());
    for (Fp8Spec spec : specs) {
      for (DType dtype : WIDE) {
        for (int columns : new int[] {1, 31, 32, 77}) {
          try (Arena arena = new Arena()) {
            TensorView source = arena.tensor(3, 1, dtype, 9, columns);
            source.copyFrom(Values.normal(columns, 9L * columns, 0, 0.02));
            try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec);
                Fp8Parameter again = Fp8Parameter.quantize(parameter.initialValue(), spec)) {
              assertArrayEquals(parameter.data().toBytes(), again.data().toBytes());
              assertArrayEquals(parameter.scaleInv().toBytes(), again.scaleInv().toBytes());
              assertArrayEquals(source.toBytes(), again.initialValue().toBytes());
            }
          }
        }
      }
    }
  }

  @Test
  void masterWeightsReportTheirOrigin() {
    for (DType dtype : WIDE) {
      for (InitialValue mode : InitialValue.values()) {
        try (Arena arena = new Arena()) {
          TensorView source = arena.tensor(dtype, Values.normal(2, 40, 0, 0.02), 4, 10);
          float[] exact = source.toFloats();
          TensorView back = arena.tensor(FLOAT32, 4, 10);
          try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec(mode))) {
            parameter.dequantize(back);
            float[] fromBits = back.toFloats();
            MasterWeights.Origin first =
                mode == DISCARD
                    ? MasterWeights.Origin.FROM_FP8
                    : MasterWeights.Origin.FROM_INITIAL_VALUE;
            assertMaster(parameter, first, mode == DISCARD ? fromBits : exact);
            parameter.clearInitialValue();
            assertMaster(parameter, MasterWeights.Origin.FROM_FP8, fromBits);
          }
          // After an update the initial value remains, but differs from the parameter's values.
          try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec(mode))) {
            parameter.update(arena.tensor(FLOAT32, Values.normal(3, 40), 4, 10));
            parameter.dequantize(back);
            assertMaster(parameter, MasterWeights.Origin.FROM_FP8, back.toFloats());
            assertEquals(mode != DISCARD, parameter.hasInitialValue());
          }
        }
      }
    }
  }

  private static void assertMaster(
      Fp8Parameter parameter, MasterWeights.Origin origin, float[] values) {
    long before = Capi.allocatedBytes();
    try (MasterWeights master = parameter.masterWeights()) {
      assertEquals(origin, master.origin());
      assertEquals(FLOAT32, master.values().dtype());
      assertArrayEquals(values, master.values().toFloats());
      assertEquals(before + 4L * values.length, Capi.allocatedBytes());
    }
    assertEquals(before, Capi.allocatedBytes());
  }

  @Test
  void viewsOfClearedMemoryAreRefused() {
    try (Arena arena = new Arena()) {
      TensorView source = arena.tensor(FLOAT32, 4, 8).copyFrom(Values.normal(1, 32));
      TensorView target = arena.tensor(FLOAT32, 4, 8);
      Fp8Spec spec = spec(KEEP_UNTIL_CLEARED);
      try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec)) {
        TensorView view = parameter.initialValue();
        assertSame(view, parameter.initialValue());
        parameter.clearInitialValue();
        List<byte[]> before = arena.snapshot();
        for (Runnable call :
            List.<Runnable>of(
                view::toFloats,
                view::toBytes,
                () -> target.copyFrom(view),
                () -> view.rows(0, 1).toDoubles(),
                () -> Fp8Parameter.amax(view),
                () -> Fp8Parameter.quantize(view, spec),
                () -> parameter.update(view))) {
          String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
          assertTrue(message.contains("initial value") && message.contains("closed"), message);
        }
        arena.assertUnchanged(before, "a refused call");
      }
    }
  }

  /** A clear waits for a concurrent reader; until then it refuses new readers. */
  @Test
  void clearingWaitsForReaders() throws Exception {
    try (Arena arena = new Arena();
        Fp8Parameter parameter =
            Fp8Parameter.quantize(
                arena.tensor(FLOAT32, Values.normal(1, 64), 64), spec(KEEP_UNTIL_CLEARED))) {
      TensorView view = parameter.initialValue();
      float[] values = view.toFloats();
      long before = Capi.allocatedBytes();
      assertTrue(view.acquire("view"));
      Thread clearing = new Thread(parameter::clearInitialValue);
      clearing.start();
      while (parameter.hasInitialValue()) {
        Thread.onSpinWait();
      }
      assertThrows(IllegalStateException.class, parameter::initialValue);
      while (true) {
        // New readers are refused once the clear has begun; the memory stays valid for this reader.
        try {
          view.toFloats();
        } catch (IllegalArgumentException expected) {
          break;
        }
      }
      clearing.join(50);
      assertTrue(clearing.isAlive());
      assertEquals(before, Capi.allocatedBytes());
      view.release(true);
      clearing.join();
      assertEquals(before - 256, Capi.allocatedBytes());
      assertEquals(64, values.length);
    }
  }

  /** Readers see the correct values or are refused; cleared memory is never read. */
  @Test
  void manyThreadsReadWhileOthersClear() throws Exception {
    int readers = 6;
    ExecutorService pool = Executors.newFixedThreadPool(readers + 2);
    try (Arena arena = new Arena()) {
      TensorView source = arena.tensor(BFLOAT16, Values.normal(7, 3000), 30, 100);
      byte[] bits = source.toBytes();
      float[] floats = source.toFloats();
      Fp8Spec spec = spec(KEEP_UNTIL_FIRST_FORWARD);
      long before = Capi.allocatedBytes();
      int[] seen = new int[1];
      for (int round = 0; round < 100; round++) {
        try (Fp8Parameter parameter = Fp8Parameter.quantize(source, spec)) {
          byte[] codes = parameter.data().toBytes();
          CyclicBarrier start = new CyclicBarrier(readers + 2);
          List<Future<Integer>> results = new ArrayList<>();
          for (int i = 0; i < readers; i++) {
            int reader = i;
            results.add(
                pool.submit(
                    () -> {
                      start.await();
                      return readUntilGone(parameter, spec, reader, bits, floats, codes);
                    }));
          }
          int turn = round;
          for (int i = 0; i < 2; i++) {
            Callable<Integer> clear =
                () -> {
                  start.await();
                  Thread.sleep(0, turn * 10_000);
                  if (turn % 2 == 0) {
                    parameter.markForward();
                  } else {
                    parameter.clearInitialValue();
                  }
                  return 0;
                };
            results.add(pool.submit(clear));
          }
          for (Future<Integer> result : results) {
            seen[0] += result.get();
          }
          assertFalse(parameter.hasInitialValue());
        }
        assertEquals(before, Capi.allocatedBytes(), "round " + round);
      }
      assertTrue(seen[0] > 0, "no reader was there before the clear in 100 rounds");
    } finally {
      pool.shutdown();
    }
  }

  private static int readUntilGone(
      Fp8Parameter parameter, Fp8Spec spec, int reader, byte[] bits, float[] floats, byte[] codes) {
    for (int reads = 0; ; reads++) {
      try {
        TensorView view = parameter.initialValue();
        switch (reader % 4) {
          case 0 -> assertArrayEquals(bits, view.toBytes());
          case 1 -> assertArrayEquals(floats, view.toFloats());
          case 2 -> {
            try (Fp8Parameter again = Fp8Parameter.quantize(view, spec)) {
              assertArrayEquals(codes, again.data().toBytes());
            }
          }
          default -> {
            try (MasterWeights master = parameter.masterWeights()) {
              if (master.origin() == MasterWeights.Origin.FROM_INITIAL_VALUE) {
                assertArrayEquals(floats, master.values().toFloats());
              }
            }
          }
        }
      } catch (IllegalStateException | IllegalArgumentException gone) {
        return reads;
      }
    }
  }
}
