package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.FLOAT32;

import java.lang.ref.WeakReference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.normcore.testing.Arena;
import org.normcore.testing.Values;

/** Norms, saved state and buffers: reuse, close, close while in use, use after close. */
class NormLifecycleTest {
  private static final int N = 16;

  private static void assertState(Runnable call, String message) {
    assertEquals(message, assertThrows(IllegalStateException.class, call::run).getMessage());
  }

  private static Norm.Builder<?> builder(NormKind kind, long n) {
    Norm.Builder<?> builder =
        kind == NormKind.LAYER_NORM ? LayerNorm.builder(n) : RmsNorm.builder(n);
    return builder.input(FLOAT32).affine(Affine.WEIGHT).policy(NormPolicy.PYTORCH);
  }

  @ParameterizedTest
  @EnumSource
  void closedNormRefusesCalls(NormKind kind) {
    try (Arena arena = new Arena()) {
      TensorView x = arena.tensor(FLOAT32, new double[2 * N], 2, N);
      TensorView weight = arena.tensor(FLOAT32, new double[N], N);
      TensorView y = arena.tensor(FLOAT32, 2, N);
      TensorView dx = arena.tensor(FLOAT32, 2, N);
      Operands operands = Operands.of(x, y).weight(weight);
      Norm norm = builder(kind, N).build();
      Saved saved = norm.forward(operands);
      TensorView rstd = saved.rstd();
      TensorView mean = saved.mean();
      norm.close();
      norm.close();
      List<byte[]> before = arena.snapshot();
      String message = (kind == NormKind.LAYER_NORM ? "LayerNorm" : "RmsNorm") + " is closed";
      Gradients gradients = Gradients.of(dx);
      assertState(() -> norm.infer(operands), message);
      assertState(() -> norm.forward(operands), message);
      assertState(() -> norm.forward(operands, saved), message);
      assertState(() -> norm.forward(operands, mean, rstd), message);
      assertState(() -> norm.backward(saved, x, gradients), message);
      assertState(() -> norm.backward(x, weight, mean, rstd, x, gradients, null), message);
      assertState(() -> norm.newSaved(1), message);
      assertState(() -> norm.backwardWorkspaceBytes(1, gradients), message);
      arena.assertUnchanged(before, "a closed norm");
      // The saved state and the properties of the norm remain readable.
      assertEquals(2, saved.rows());
      assertEquals(2, saved.rstd().toFloats().length);
      assertEquals(N, norm.hiddenSize());
      assertTrue(norm.toString().contains("closed"), norm.toString());
      saved.close();
    }
  }

  @ParameterizedTest
  @EnumSource
  void savedIsReusedUntilClosed(NormKind kind) {
    try (Arena arena = new Arena();
        Norm norm = builder(kind, N).build()) {
      TensorView weight = arena.tensor(FLOAT32, Values.normal(1, N), N);
      Saved saved = norm.newSaved(5);
      assertEquals(5, saved.capacity());
      String empty =
          "Saved holds nothing: no forward call has filled it, or a backward has written dx over"
              + " its x";
      assertState(saved::rows, empty);
      assertState(saved::rstd, empty);
      assertState(saved::mean, empty);
      for (int rows : new int[] {5, 1, 0, 3}) {
        TensorView x = arena.tensor(FLOAT32, Values.normal(rows, rows * N), rows, N);
        TensorView y = arena.tensor(FLOAT32, rows, N);
        TensorView dy = arena.tensor(FLOAT32, Values.normal(rows + 9, rows * N), rows, N);
        assertSame(saved, norm.forward(Operands.of(x, y).weight(weight), saved));
        assertEquals(rows, saved.rows());
        assertEquals(rows, saved.rstd().elements());
        assertEquals(norm.statisticsDType(), saved.rstd().dtype());
        if (kind == NormKind.RMS_NORM) {
          assertNull(saved.mean());
        } else {
          assertEquals(rows, saved.mean().elements());
        }
        // Several backwards, with more and with fewer gradients, give the same.
        TensorView dx = arena.tensor(FLOAT32, rows, N);
        TensorView again = arena.tensor(FLOAT32, rows, N);
        TensorView dweight = arena.tensor(FLOAT32, N);
        norm.backward(saved, dy, Gradients.of(dx));
        norm.backward(saved, dy, Gradients.of(again).weight(dweight, GradientMode.WRITE));
        assertArrayEquals(dx.toBytes(), again.toBytes());
        norm.backward(saved, dy, Gradients.none());
      }
      TensorView rstd = saved.rstd();
      saved.close();
      saved.close();
      assertState(saved::rows, "Saved is closed");
      assertState(saved::rstd, "Saved is closed");
      assertState(saved::mean, "Saved is closed");
      assertThrows(IllegalArgumentException.class, rstd::toFloats);
      assertTrue(saved.toString().contains("closed"), saved.toString());
      arena.assertGuards();
    }
  }

  /** dx in place of x invalidates the saved state; dx elsewhere does not. */
  @Test
  void backwardOverInputInvalidatesSaved() {
    try (Arena arena = new Arena();
        RmsNorm norm =
            RmsNorm.builder(N)
                .input(FLOAT32)
                .affine(Affine.NONE)
                .policy(NormPolicy.PYTORCH)
                .build()) {
      TensorView x = arena.tensor(FLOAT32, Values.normal(1, 2 * N), 2, N);
      TensorView y = arena.tensor(FLOAT32, 2, N);
      TensorView dy = arena.tensor(FLOAT32, Values.normal(2, 2 * N), 2, N);
      TensorView apart = arena.tensor(FLOAT32, 2, N);
      try (Saved saved = norm.forward(x, null, y)) {
        norm.backward(saved, dy, Gradients.of(apart));
        norm.backward(saved, dy, Gradients.of(x));
        assertArrayEquals(apart.toBytes(), x.toBytes());
        assertThrows(
            IllegalStateException.class, () -> norm.backward(saved, dy, Gradients.of(apart)));
        norm.forward(Operands.of(x, y), saved);
        norm.backward(saved, dy, Gradients.of(apart));
      }
    }
  }

  /** Nothing is written, in one thread and in several. */
  @ParameterizedTest
  @ValueSource(ints = {2, 1024})
  void refusedBackwardOverInputKeepsSaved(int rows) {
    int n = 1024;
    try (Arena arena = new Arena();
        RmsNorm norm =
            RmsNorm.builder(n).input(FLOAT32).policy(NormPolicy.PYTORCH).threads(2).build()) {
      TensorView x = arena.tensor(FLOAT32, Values.normal(1, rows * n), rows, n);
      TensorView weight = arena.tensor(FLOAT32, Values.normal(2, n), n);
      TensorView y = arena.tensor(FLOAT32, rows, n);
      TensorView dy = arena.tensor(FLOAT32, Values.normal(3, rows * n), rows, n);
      TensorView inX = TensorView.ofAddress(x.address(), FLOAT32, Device.CPU, n);
      byte[] before = x.toBytes();
      try (Saved saved = norm.forward(x, weight, y)) {
        Gradients refused = Gradients.of(x).weight(inX, GradientMode.WRITE);
        assertThrows(
            IllegalArgumentException.class,
            () -> norm.backward(saved, dy, refused),
            "dweight in x");
        assertArrayEquals(before, x.toBytes());
        norm.backward(saved, dy, Gradients.of(x));
        assertThrows(IllegalStateException.class, saved::rows, "x is dx now");
      }
    }
  }

  /**
   * The calling thread invokes the executor during a call; closing any object that the call uses is
   * then refused.
   */
  @ParameterizedTest
  @EnumSource
  void closingObjectsInUseIsRefused(NormKind kind) {
    int n = 4096;
    int rows = 64;
    List<Runnable> during = new ArrayList<>();
    int[] calls = new int[1];
    try (NativeBuffer memory = NativeBuffer.allocate(FLOAT32, rows, n).zero();
        NativeBuffer output = NativeBuffer.allocate(FLOAT32, rows, n);
        NativeBuffer parameter = NativeBuffer.allocate(FLOAT32, n).zero();
        NativeBuffer gradient = NativeBuffer.allocate(FLOAT32, n);
        Norm norm =
            builder(kind, n)
                .threads(2)
                .executor(
                    task -> {
                      calls[0]++;
                      during.forEach(Runnable::run);
                      task.run();
                    })
                .build();
        Saved saved = norm.newSaved(rows)) {
      TensorView x = memory.view(FLOAT32, rows, n);
      TensorView y = output.view(FLOAT32, rows, n);
      TensorView weight = parameter.view(FLOAT32, n);
      Operands operands = Operands.of(x, y).weight(weight);
      for (AutoCloseable used : List.of(memory, output, parameter, norm)) {
        during.add(() -> assertThrows(IllegalStateException.class, used::close));
      }
      norm.infer(operands);
      during.add(() -> assertState(saved::close, "Saved is in use"));
      during.add(() -> assertState(() -> norm.forward(operands, saved), "Saved is in use"));
      norm.forward(operands, saved);
      during.add(() -> assertThrows(IllegalStateException.class, gradient::close));
      during.add(
          () -> assertState(() -> norm.backward(saved, y, Gradients.none()), "Saved is in use"));
      norm.backward(
          saved, y, Gradients.of(x).weight(gradient.view(FLOAT32, n), GradientMode.WRITE));
      assertTrue(calls[0] >= 3, "the executor was called " + calls[0] + " times");
      during.clear();
      norm.infer(operands);
    }
  }

  @Test
  void savedKeepsBackwardInputs() throws InterruptedException {
    try (Arena arena = new Arena();
        Norm norm = builder(NormKind.RMS_NORM, N).build()) {
      TensorView weight = arena.tensor(FLOAT32, Values.normal(1, N), N);
      TensorView y = arena.tensor(FLOAT32, 2, N);
      ByteBuffer memory = ByteBuffer.allocateDirect(8 * N).order(ByteOrder.nativeOrder());
      WeakReference<ByteBuffer> reference = new WeakReference<>(memory);
      Saved saved =
          norm.forward(Operands.of(TensorView.of(memory, FLOAT32, 2, N), y).weight(weight));
      memory = null;
      for (int i = 0; i < 3; i++) {
        System.gc();
        Thread.sleep(10);
      }
      assertNotNull(reference.get(), "collected although a backward will read it");
      saved.close();
      for (int i = 0; i < 100 && reference.get() != null; i++) {
        System.gc();
        Thread.sleep(10);
      }
      assertNull(reference.get(), "kept although the Saved is closed");
      assertFalse(saved.toString().isEmpty());
    }
  }
}
