package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;
import static org.normcore.DType.FLOAT8_E4M3;
import static org.normcore.DType.FLOAT8_E5M2;

import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.normcore.internal.Capi;
import org.normcore.internal.UseGuard;
import org.normcore.testing.Arena;
import org.normcore.testing.NativeMemory;
import org.normcore.testing.Values;

/** FP8 parameters refuse invalid arguments, use at the wrong time, and use after close. */
@Timeout(120)
class Fp8LifecycleTest {
  private static final Fp8Spec CURRENT = Fp8Spec.builder(FLOAT8_E4M3).build();
  private static final Fp8Spec MXFP8 = Fp8Spec.builder(FLOAT8_E5M2).mxfp8().build();
  private static final Fp8Spec GIVEN = Fp8Spec.builder(FLOAT8_E5M2).givenScale(2).build();

  @BeforeAll
  static void settle() throws InterruptedException {
    NativeMemory.settle();
  }

  private static void assertRefused(Runnable call, String... parts) {
    long allocated = Capi.allocatedBytes();
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
    assertEquals(allocated, Capi.allocatedBytes(), "a refused call has left memory behind");
  }

  private static Fp8Parameter parameter(Arena arena, Fp8Spec spec) {
    return Fp8Parameter.quantize(arena.tensor(FLOAT32, Values.normal(1, 96), 6, 16), spec);
  }

  private static TensorView afar(DType dtype, long... shape) {
    return TensorView.ofAddress(4096, dtype, Device.cuda(0), shape);
  }

  private static TensorView closed(DType dtype, long... shape) {
    NativeBuffer buffer = NativeBuffer.allocate(dtype, shape);
    TensorView view = buffer.view(dtype, shape);
    buffer.close();
    return view;
  }

  @Test
  void badSourcesAreRefused() {
    try (Arena arena = new Arena()) {
      TensorView x = arena.tensor(FLOAT32, Values.normal(1, 12), 3, 4);
      TensorView amax = arena.tensor(FLOAT32, 1);
      List<byte[]> before = arena.snapshot();
      assertRefused(() -> Fp8Parameter.quantize(null, CURRENT), "source: null", "expected");
      assertRefused(() -> Fp8Parameter.quantize(x, null), "spec: null", "expected");
      assertRefused(() -> Fp8Parameter.quantize(x, CURRENT, null), "reducedAmax: null");
      assertRefused(() -> Fp8Parameter.quantize(x, CURRENT, null, null, null), "device: null");
      for (DType dtype : DType.values()) {
        TensorView other = arena.tensor(dtype, 2, 2);
        if (!dtype.isNormType() || dtype == FLOAT64) {
          assertRefused(
              () -> Fp8Parameter.quantize(other, CURRENT), "source: dtype: " + dtype, "FLOAT32");
          assertRefused(() -> Fp8Parameter.amax(other), "source: dtype: " + dtype, "FLOAT32");
        }
      }
      assertRefused(() -> Fp8Parameter.quantize(closed(FLOAT32, 4), CURRENT), "source: ", "closed");
      for (Fp8Spec spec : List.of(MXFP8, GIVEN)) {
        assertRefused(
            () -> Fp8Parameter.quantize(x, spec, amax), "reducedAmax: ", spec.recipe().name());
      }
      for (TensorView wrong :
          List.of(arena.tensor(FLOAT32, 2), arena.tensor(BFLOAT16, 1), arena.tensor(FLOAT64, 1))) {
        assertRefused(
            () -> Fp8Parameter.quantize(x, CURRENT, wrong), "reducedAmax: ", "one FLOAT32 number");
        assertRefused(() -> Fp8Parameter.amax(x, wrong, null), "target: ", "one FLOAT32 number");
      }
      assertRefused(
          () -> Fp8Parameter.quantize(x, CURRENT, afar(FLOAT32, 1)), "reducedAmax: is on cuda:0");
      assertRefused(
          () -> Fp8Parameter.quantize(x, CURRENT, closed(FLOAT32, 1)), "reducedAmax: ", "closed");
      CudaStream stream = CudaStream.ofDefault(Device.cuda(0));
      assertRefused(
          () -> Fp8Parameter.quantize(x, CURRENT, null, Device.CPU, stream), "stream: ", "CPU");
      assertRefused(() -> Fp8Parameter.amax(x, amax, stream), "stream: ", "CPU");
      assertRefused(() -> Fp8Parameter.amax(x, null, null), "target: null");
      assertRefused(() -> Fp8Parameter.amax(x, afar(FLOAT32, 1), null), "target: is on cuda:0");
      TensorView inside = TensorView.ofAddress(x.address() + 4, FLOAT32, Device.CPU, 1);
      assertRefused(() -> Fp8Parameter.amax(x, inside, null), "target: overlaps");
      TensorView odd = TensorView.ofAddress(amax.address() + 1, FLOAT32, Device.CPU, 1);
      assertRefused(() -> Fp8Parameter.amax(x, odd, null), "target: address", "multiple of 4");
      assertThrows(UnsupportedOperationException.class, () -> Fp8Parameter.amax(afar(FLOAT32, 4)));
      List<byte[]> after = arena.snapshot().subList(0, before.size());
      for (int i = 0; i < before.size(); i++) {
        assertArrayEquals(before.get(i), after.get(i));
      }
    }
  }

  @Test
  void badTargetsAndMastersAreRefused() {
    for (Fp8Spec spec : List.of(CURRENT, MXFP8, GIVEN)) {
      try (Arena arena = new Arena();
          Fp8Parameter parameter = parameter(arena, spec)) {
        final byte[] codes = parameter.data().toBytes();
        final byte[] scales = parameter.scaleInv().toBytes();
        TensorView good = arena.tensor(FLOAT32, 6, 16);
        TensorView own =
            TensorView.ofAddress(parameter.data().address(), BFLOAT16, Device.CPU, 6, 16);
        TensorView copy = parameter.dequantized(BFLOAT16);
        List<Object[]> bad = new ArrayList<>();
        bad.add(new Object[] {null, "null"});
        bad.add(new Object[] {arena.tensor(FLOAT32, 16, 6), "[16, 6]"});
        bad.add(new Object[] {arena.tensor(FLOAT32, 96), "[96]"});
        bad.add(new Object[] {arena.tensor(FLOAT64, 6, 16), "FLOAT64"});
        bad.add(new Object[] {arena.tensor(FLOAT8_E4M3, 6, 16), "FLOAT8_E4M3"});
        bad.add(new Object[] {afar(FLOAT32, 6, 16), "cuda:0"});
        bad.add(new Object[] {closed(FLOAT32, 6, 16), "closed"});
        bad.add(new Object[] {own, "overlaps"});
        List<byte[]> before = arena.snapshot();
        for (Object[] each : bad) {
          TensorView view = (TensorView) each[0];
          assertRefused(() -> parameter.dequantize(view), "target: ", (String) each[1]);
          assertRefused(() -> parameter.update(view), "master: ", (String) each[1]);
        }
        assertRefused(() -> parameter.update(copy), "master: overlaps");
        CudaStream stream = CudaStream.ofDefault(Device.cuda(0));
        assertRefused(() -> parameter.dequantize(good, stream), "stream: ", "CPU");
        assertRefused(() -> parameter.update(good, null, stream), "stream: ", "CPU");
        assertRefused(() -> parameter.masterWeights(stream), "stream: ", "CPU");
        assertRefused(() -> parameter.to(Device.CPU, stream), "stream: ", "CPU");
        assertRefused(() -> parameter.dequantized(FLOAT32, stream), "stream: ", "CPU");
        assertRefused(() -> parameter.to(null), "device: null");
        assertRefused(() -> parameter.update(good, (TensorView) null), "reducedAmax: null");
        for (DType dtype : List.of(FLOAT64, FLOAT8_E4M3, DType.FLOAT8_E8M0)) {
          assertRefused(() -> parameter.dequantized(dtype), "dtype: " + dtype, "FLOAT32");
        }
        TensorView number = arena.tensor(FLOAT32, 1);
        if (spec != CURRENT) {
          assertRefused(
              () -> parameter.update(good, number), "reducedAmax: ", spec.recipe().name());
        }
        List<byte[]> after = arena.snapshot();
        for (int i = 0; i < before.size(); i++) {
          assertArrayEquals(before.get(i), after.get(i));
        }
        assertArrayEquals(codes, parameter.data().toBytes());
        assertArrayEquals(scales, parameter.scaleInv().toBytes());
      }
    }
  }

  /**
   * Initial values and dequantised copies are sources, never targets, also through a raw address.
   */
  @Test
  void ownedMemoryIsRefusedAsTarget() {
    Fp8Spec spec = CURRENT.toBuilder().initialValue(InitialValue.KEEP_UNTIL_CLEARED).build();
    try (Arena arena = new Arena();
        Fp8Parameter other = parameter(arena, spec);
        Fp8Parameter parameter = parameter(arena, spec)) {
      List<TensorView> kept = new ArrayList<>(List.of(parameter.initialValue()));
      for (DType dtype : List.of(FLOAT32, BFLOAT16, DType.FLOAT16)) {
        kept.add(parameter.dequantized(dtype));
      }
      TensorView x = arena.tensor(FLOAT32, Values.normal(2, 96), 6, 16);
      for (TensorView view : kept) {
        byte[] before = view.toBytes();
        TensorView sameBytes =
            TensorView.ofAddress(view.address(), view.dtype(), Device.CPU, view.shape());
        assertRefused(() -> parameter.dequantize(view), "target: overlaps");
        assertRefused(() -> parameter.dequantize(sameBytes), "target: overlaps");
        assertRefused(() -> other.dequantize(view), "target: ", "which is read-only");
        if (view.dtype() == FLOAT32) {
          TensorView number = view.rows(2, 3).reshape(16, 1).rows(5, 6);
          assertRefused(() -> Fp8Parameter.amax(x, number, null), "target: ", "which is read-only");
        }
        assertArrayEquals(before, view.toBytes());
      }
      TensorView amax = arena.tensor(FLOAT32, 1);
      Fp8Parameter.amax(parameter.initialValue(), amax, null);
      assertEquals(Fp8ParameterTest.number(parameter.amax()), Fp8ParameterTest.number(amax));
      Fp8Parameter.amax(x, parameter.amax(), null);
      byte[] codes = parameter.data().toBytes();
      parameter.update(parameter.initialValue());
      assertArrayEquals(codes, parameter.data().toBytes());
    }
  }

  @Test
  void closedParametersRefuseCalls() {
    try (Arena arena = new Arena()) {
      TensorView target = arena.tensor(FLOAT32, 6, 16);
      for (Fp8Spec spec : List.of(CURRENT, MXFP8)) {
        Fp8Parameter parameter = parameter(arena, spec);
        TensorView data = parameter.data();
        TensorView copy = parameter.dequantized(FLOAT32);
        assertFalse(parameter.toString().contains("closed"));
        parameter.close();
        parameter.close();
        assertTrue(parameter.toString().contains("closed"), parameter.toString());
        for (Runnable call :
            List.<Runnable>of(
                parameter::data,
                parameter::scale,
                parameter::scaleInv,
                parameter::amax,
                parameter::initialValue,
                parameter::masterWeights,
                () -> parameter.dequantize(target),
                () -> parameter.dequantized(FLOAT32),
                () -> parameter.update(target),
                () -> parameter.to(Device.CPU))) {
          assertThrows(IllegalStateException.class, call::run);
        }
        assertRefused(data::toBytes, "closed");
        assertRefused(copy::toBytes, "closed");
        assertEquals(spec, parameter.spec());
        assertEquals(Device.CPU, parameter.device());
        assertArrayEquals(new long[] {6, 16}, parameter.shape());
        assertFalse(parameter.hasInitialValue());
      }
    }
  }

  /** While a view of its memory is in use, closing is refused and changes nothing. */
  @Test
  void closingWhileInUseIsRefused() {
    try (Arena arena = new Arena()) {
      Fp8Spec spec = CURRENT.toBuilder().initialValue(InitialValue.KEEP_UNTIL_CLEARED).build();
      Fp8Parameter parameter = parameter(arena, spec);
      byte[] codes = parameter.data().toBytes();
      for (TensorView view :
          List.of(
              parameter.data(),
              parameter.scale(),
              parameter.dequantized(FLOAT32),
              parameter.dequantized(BFLOAT16))) {
        assertTrue(view.acquire("view"));
        assertThrows(IllegalStateException.class, parameter::close);
        view.release(true);
        assertArrayEquals(codes, parameter.data().toBytes());
        assertEquals(96, parameter.dequantized(FLOAT32).toFloats().length);
        assertEquals(96, parameter.dequantized(BFLOAT16).toFloats().length);
        assertTrue(parameter.hasInitialValue());
      }
      assertSame(parameter, parameter.to(Device.CPU));
      parameter.close();
    }
  }

  /** Of several threads that close concurrently, one closes and the others do nothing. */
  @Test
  void concurrentClosesSucceed() throws Exception {
    int threads = 2;
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try (Arena arena = new Arena()) {
      TensorView x = arena.tensor(FLOAT32, Values.normal(1, 1), 1);
      for (int round = 0; round < 1000; round++) {
        Fp8Parameter parameter = Fp8Parameter.quantize(x, CURRENT);
        for (DType dtype : List.of(FLOAT32, BFLOAT16, DType.FLOAT16)) {
          parameter.dequantized(dtype);
        }
        AtomicInteger missing = new AtomicInteger(threads);
        List<Future<?>> closers = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
          closers.add(
              pool.submit(
                  () -> {
                    missing.decrementAndGet();
                    while (missing.get() > 0) {
                      Thread.onSpinWait();
                    }
                    parameter.close();
                  }));
        }
        for (Future<?> closer : closers) {
          closer.get();
        }
        assertThrows(IllegalStateException.class, parameter::data);
      }
    } finally {
      pool.shutdown();
    }
  }

  /** A closing thread excludes other uses; if the close fails, the parameter is open again. */
  @Test
  void closingExcludesOtherUses() {
    UseGuard guard = new UseGuard("it");
    assertTrue(guard.acquireToClose());
    assertTrue(guard.isOpen());
    assertFalse(guard.acquireToClose());
    assertFalse(guard.tryAcquire());
    for (Runnable call : List.<Runnable>of(guard::acquire, guard::acquireExclusive, guard::close)) {
      assertEquals(
          "it is in use", assertThrows(IllegalStateException.class, call::run).getMessage());
    }
    guard.release();
    guard.acquire();
    assertThrows(IllegalStateException.class, guard::acquireToClose);
    guard.release();
    guard.acquireExclusive();
    assertThrows(IllegalStateException.class, guard::acquireToClose);
    guard.release();
    assertTrue(guard.acquireToClose());
    guard.closeExclusive();
    assertFalse(guard.isOpen());
    assertFalse(guard.acquireToClose());
  }

  /**
   * A close waits for the initial value after it has acquired everything else. At that point a
   * second close is guaranteed to be concurrent with the first.
   */
  @Test
  void secondCloseDuringAReadSucceeds() throws Exception {
    Fp8Spec spec = CURRENT.toBuilder().initialValue(InitialValue.KEEP_UNTIL_CLEARED).build();
    try (Arena arena = new Arena()) {
      Fp8Parameter parameter = parameter(arena, spec);
      TensorView initial = parameter.initialValue();
      assertTrue(initial.acquire("initial"));
      Thread closer = new Thread(parameter::close);
      closer.start();
      while (parameter.toString().indexOf("closed") < 0) {
        Thread.onSpinWait();
      }
      parameter.close();
      closer.join(50);
      assertTrue(closer.isAlive(), "the reader is waited for");
      // Parked, not spinning.
      long before = cpuNanos(closer);
      Thread.sleep(200);
      long used = cpuNanos(closer) - before;
      initial.release(true);
      closer.join();
      assertTrue(used < 100_000_000, used + " ns of a core in 0.2 s of waiting");
    }
  }

  private static long cpuNanos(Thread thread) {
    return ManagementFactory.getThreadMXBean().getThreadCpuTime(thread.getId());
  }

  /** All memory is freed, even if the parameter is never closed. */
  @Test
  void unclosedParametersAreFreed() throws InterruptedException {
    NativeMemory.settle();
    long before = Capi.allocatedBytes();
    try (Arena arena = new Arena()) {
      Fp8Spec spec = CURRENT.toBuilder().initialValue(InitialValue.KEEP_UNTIL_CLEARED).build();
      for (int i = 0; i < 20; i++) {
        parameter(arena, spec).dequantized(FLOAT32);
      }
    }
    NativeMemory.settle();
    assertEquals(before, Capi.allocatedBytes());
  }

  /**
   * Reads see either the old or the new values; an update is refused during a read, and a read
   * during an update.
   */
  @Test
  void updatesAndReadsExcludeEachOther() throws Exception {
    int count = 40_000;
    try (Arena arena = new Arena()) {
      TensorView a = arena.tensor(FLOAT32, Values.normal(1, count), 100, 400);
      TensorView b = arena.tensor(FLOAT32, Values.normal(2, count, 0, 5), 100, 400);
      try (Fp8Parameter parameter = Fp8Parameter.quantize(a, CURRENT)) {
        TensorView back = arena.tensor(FLOAT32, 100, 400);
        parameter.dequantize(back);
        float[] valuesOfA = back.toFloats();
        parameter.update(b);
        parameter.dequantize(back);
        float[] valuesOfB = back.toFloats();
        AtomicBoolean done = new AtomicBoolean();
        ExecutorService pool = Executors.newFixedThreadPool(3);
        AtomicInteger reads = new AtomicInteger();
        List<Future<?>> readers = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
          TensorView target = arena.tensor(FLOAT32, 100, 400);
          readers.add(
              pool.submit(
                  () -> {
                    while (!done.get()) {
                      try {
                        parameter.dequantize(target);
                      } catch (IllegalStateException inUse) {
                        continue;
                      }
                      float[] seen = target.toFloats();
                      assertTrue(Arrays.equals(valuesOfA, seen) || Arrays.equals(valuesOfB, seen));
                      reads.incrementAndGet();
                    }
                  }));
        }
        int updates = 0;
        long end = System.nanoTime() + 20_000_000_000L;
        // A busy machine may start the readers after all updates, so go on until one has read.
        while ((updates < 200 || reads.get() == 0) && System.nanoTime() < end) {
          try {
            parameter.update(updates % 2 == 0 ? a : b);
            updates++;
          } catch (IllegalStateException inUse) {
            assertTrue(inUse.getMessage().contains("in use"), inUse.getMessage());
          }
        }
        done.set(true);
        for (Future<?> reader : readers) {
          reader.get();
        }
        pool.shutdown();
        assertTrue(updates > 0 && reads.get() > 0, updates + " updates, " + reads + " reads");
      }
    }
  }
}
