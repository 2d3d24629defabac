package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.lang.ref.WeakReference;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.ShortPointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.normcore.testing.Arena;

class TensorViewTest {
  private static ByteBuffer direct(int bytes) {
    return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), "\"" + message + "\" should name " + part);
    }
  }

  @Test
  void javaCppPointersOfAnyClass() {
    try (FloatPointer floats = new FloatPointer(12);
        BytePointer bytes = new BytePointer(48);
        ShortPointer shorts = new ShortPointer(24);
        DoublePointer doubles = new DoublePointer(6)) {
      for (int i = 0; i < 12; i++) {
        floats.put(i, i);
      }
      TensorView view = TensorView.of(floats, FLOAT32, 3, 4);
      assertEquals(floats.address(), view.address());
      assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, view.toFloats());
      view.copyFrom(new float[12]);
      assertEquals(0f, floats.get(11));

      // The class does not determine the dtype: each buffer has 48 bytes.
      for (Pointer pointer : List.of(floats, bytes, shorts, doubles)) {
        for (DType dtype : DType.values()) {
          int fits = 48 / dtype.bytes();
          assertEquals(fits, TensorView.of(pointer, dtype, fits).elements());
          assertRefused(
              () -> TensorView.of(pointer, dtype, fits + 1), "48 bytes", "" + dtype, "expected");
        }
      }
    }
  }

  @Test
  void pointerPositionAndLimitAreUsed() {
    try (FloatPointer floats = new FloatPointer(12)) {
      for (int i = 0; i < 12; i++) {
        floats.put(i, i);
      }
      floats.position(4);
      assertArrayEquals(new float[] {4, 5}, TensorView.of(floats, FLOAT32, 2).toFloats());
      TensorView.of(floats, FLOAT32, 8);
      assertRefused(() -> TensorView.of(floats, FLOAT32, 9), "32 bytes", "36");
      floats.limit(6);
      TensorView.of(floats, FLOAT32, 2);
      assertRefused(() -> TensorView.of(floats, FLOAT32, 3), "8 bytes", "12");
    }
    try (FloatPointer floats = new FloatPointer(16)) {
      floats.limit(0);
      assertRefused(() -> TensorView.of(floats, FLOAT32, 1), "0 bytes", "4");
      assertEquals(0, TensorView.of(floats, FLOAT32, 0).elements());
      floats.limit(16).position(16);
      assertRefused(() -> TensorView.of(floats, FLOAT32, 1), "0 bytes", "4");
      // A pointer as native functions return it, of unknown size.
      floats.position(0).limit(0).capacity(0);
      assertEquals(99, TensorView.of(floats, FLOAT32, 99).elements());
    }
    assertRefused(() -> TensorView.of((Pointer) null, FLOAT32, 1), "pointer", "null");
    assertRefused(
        () -> TensorView.of(new FloatPointer((Pointer) null), FLOAT32, 1), "address", "0");
    assertEquals(0, TensorView.of(new FloatPointer((Pointer) null), FLOAT32, 0, 4).elements());
  }

  @Test
  void deallocatedPointerIsRefused() {
    FloatPointer floats = new FloatPointer(4);
    TensorView view = TensorView.of(floats, FLOAT32, 4).copyFrom(new float[] {1, 2, 3, 4});
    floats.deallocate();
    try (NativeBuffer open = NativeBuffer.allocate(16)) {
      for (TensorView dead : List.of(view, view.withOwner(open), view.withOwner(new Object()))) {
        assertRefused(dead::toFloats, "tensor", "deallocated");
        assertRefused(() -> dead.copyFrom(new float[4]), "tensor", "deallocated");
      }
    }
  }

  @Test
  void directBuffersOfEveryClass() {
    ByteBuffer bytes = direct(64);
    List<Buffer> all =
        List.of(
            bytes,
            bytes.asShortBuffer(),
            bytes.asCharBuffer(),
            bytes.asIntBuffer(),
            bytes.asFloatBuffer(),
            bytes.asLongBuffer(),
            bytes.asDoubleBuffer());
    for (Buffer buffer : all) {
      TensorView view = TensorView.of(buffer, BFLOAT16, 4, 8);
      view.copyFrom(new float[32]);
      view.rows(3, 4).copyFrom(new float[] {1, 2, 3, 4, 5, 6, 7, 8});
      assertEquals((short) 0x4100, bytes.getShort(62), buffer.toString());
      assertRefused(() -> TensorView.of(buffer, BFLOAT16, 33), "64 bytes", "66");
    }
  }

  @Test
  void bufferPositionAndLimitAreUsed() {
    ByteBuffer bytes = direct(64);
    bytes.putFloat(12, 42).position(12).limit(20);
    assertEquals(42f, TensorView.of(bytes, FLOAT32, 2).toFloats()[0]);
    assertRefused(() -> TensorView.of(bytes, FLOAT32, 3), "8 bytes", "12");
    FloatBuffer floats = direct(64).asFloatBuffer().put(3, 7).position(3);
    assertEquals(7f, TensorView.of(floats, FLOAT32, 13).toFloats()[0]);
    assertRefused(() -> TensorView.of(floats, FLOAT32, 14), "52 bytes", "56");
    ByteBuffer slice = direct(64).position(3).slice().order(ByteOrder.nativeOrder());
    TensorView odd = TensorView.of(slice, FLOAT64, 7).copyFrom(new double[] {1, 2, 3, 4, 5, 6, 7});
    assertArrayEquals(new double[] {1, 2, 3, 4, 5, 6, 7}, odd.toDoubles());
  }

  @Test
  void unsupportedBuffersAreRefused() {
    assertRefused(() -> TensorView.of((Buffer) null, FLOAT32, 1), "buffer", "null");
    assertRefused(() -> TensorView.of(ByteBuffer.allocate(64), FLOAT32, 1), "buffer", "heap");
    assertRefused(() -> TensorView.of(FloatBuffer.allocate(64), FLOAT32, 1), "buffer", "heap");
    assertRefused(
        () -> TensorView.of(direct(64).asReadOnlyBuffer(), FLOAT32, 1), "buffer", "read-only");
    ByteOrder other =
        ByteOrder.nativeOrder() == ByteOrder.LITTLE_ENDIAN
            ? ByteOrder.BIG_ENDIAN
            : ByteOrder.LITTLE_ENDIAN;
    ByteBuffer swapped = ByteBuffer.allocateDirect(64).order(other);
    for (Buffer buffer :
        List.of(
            swapped,
            swapped.asShortBuffer(),
            swapped.asCharBuffer(),
            swapped.asIntBuffer(),
            swapped.asFloatBuffer(),
            swapped.asLongBuffer(),
            swapped.asDoubleBuffer())) {
      assertRefused(() -> TensorView.of(buffer, FLOAT32, 1), "byte order", other.toString());
    }
  }

  @Test
  void addresses() {
    try (NativeBuffer buffer = NativeBuffer.allocate(64)) {
      TensorView view = TensorView.ofAddress(buffer.address() + 5, FLOAT32, Device.CPU, 2, 3);
      assertEquals(buffer.address() + 5, view.address());
      assertArrayEquals(
          new float[] {1, 2, 3, 4, 5, 6}, view.copyFrom(new float[] {1, 2, 3, 4, 5, 6}).toFloats());
    }
    assertRefused(() -> TensorView.ofAddress(0, FLOAT32, Device.CPU, 1), "address: 0");
    assertEquals(0, TensorView.ofAddress(0, FLOAT32, Device.CPU, 0, 7).elements());
    for (long size : new long[] {0, 1, 4}) {
      assertRefused(() -> TensorView.ofAddress(-8, FLOAT32, Device.CPU, size), "address: -8");
    }
    long last = Long.MAX_VALUE - 16;
    TensorView view = TensorView.ofAddress(last, FLOAT32, Device.CPU, 2, 2);
    assertRefused(
        () -> TensorView.ofAddress(last + 1, FLOAT32, Device.CPU, 2, 2),
        "address: " + (last + 1),
        "at most " + last);
    assertRefused(() -> view.withRowStride(3), "address: " + last, "at most " + (last - 4));
  }

  @Test
  void nullArgumentsAreNamed() {
    assertNamed("dtype", () -> TensorView.ofAddress(64, null, Device.CPU, 1));
    assertNamed("device", () -> TensorView.ofAddress(64, FLOAT32, null, 1));
    assertNamed("shape", () -> TensorView.ofAddress(64, FLOAT32, Device.CPU, (long[]) null));
    assertNamed("dtype", () -> TensorView.of(direct(8), null, 1));
    assertNamed("shape", () -> TensorView.of(direct(8), FLOAT32, (long[]) null));
    assertNamed("dtype", () -> NativeBuffer.allocate((DType) null, 1));
    assertNamed("shape", () -> NativeBuffer.allocate(FLOAT32, (long[]) null));
    TensorView view = TensorView.of(direct(8), FLOAT32, 2);
    assertNamed("shape", () -> view.reshape((long[]) null));
    assertNamed("keepAlive", () -> view.withOwner(null));
    try (NativeBuffer buffer = NativeBuffer.allocate(8)) {
      assertNamed("dtype", () -> buffer.view(null, 1));
      assertNamed("shape", () -> buffer.view(FLOAT32, (long[]) null));
    }
    assertNamed("source", () -> view.copyFrom((float[]) null));
    assertNamed("source", () -> view.copyFrom((double[]) null));
    assertNamed("normalizedShape", () -> RmsNorm.builder((long[]) null));
    assertNamed("normalizedShape", () -> LayerNorm.builder((long[]) null));
    assertNamed("input", () -> RmsNorm.builder(4).input(null));
    assertNamed("rounding", () -> NormPolicy.builder(null));
    assertNamed("modelType", () -> NormPolicy.forModelType(null));
    assertNamed("modelType", () -> ModelType.of(null));
    assertNamed("modelType", () -> ModelType.find(null));
  }

  private static void assertNamed(String argument, Executable call) {
    String message = assertThrows(NullPointerException.class, call).getMessage();
    assertTrue(message.startsWith(argument + ": null; expected "), message);
  }

  @Test
  void shapeIsReadBack() {
    TensorView view = TensorView.ofAddress(64, BFLOAT16, Device.CPU, 2, 3, 4);
    assertArrayEquals(new long[] {2, 3, 4}, view.shape());
    view.shape()[0] = 99;
    assertArrayEquals(new long[] {2, 3, 4}, view.shape());
    assertEquals(3, view.rank());
    assertEquals(4, view.size(-1));
    assertEquals(2, view.size(0));
    assertThrows(IndexOutOfBoundsException.class, () -> view.size(3));
    String message =
        assertThrows(IndexOutOfBoundsException.class, () -> view.size(-4)).getMessage();
    assertEquals("dimension: -4; expected -3 to 2, as the tensor has 3 dimensions", message);
    assertEquals(24, view.elements());
    assertEquals(4, view.rowStride());
    assertEquals(24, view.rows(0));
    assertEquals(6, view.rows(1));
    assertEquals(2, view.rows(2));
    assertEquals(1, view.rows(3));
    assertRefused(() -> view.rows(4), "normalizedDims: 4", "0 to 3");
    assertEquals(BFLOAT16, view.dtype());
    assertEquals(Device.CPU, view.device());
    assertEquals("BFLOAT16[2, 3, 4] on cpu", view.toString());
    assertEquals(
        "BFLOAT16[2, 3, 4] with a row stride of 9 on cpu", view.withRowStride(9).toString());
    assertEquals(1, TensorView.ofAddress(64, BFLOAT16, Device.CPU).elements());
  }

  @Test
  void impossibleShapesAreRefused() {
    assertRefused(() -> TensorView.ofAddress(64, FLOAT32, Device.CPU, 2, -1), "shape", "[2, -1]");
    assertRefused(
        () -> TensorView.ofAddress(64, FLOAT32, Device.CPU, 1L << 40, 1L << 40), "address space");
    assertRefused(
        () -> TensorView.ofAddress(64, FLOAT32, Device.CPU, 3, 4).withRowStride(Long.MAX_VALUE / 2),
        "address space");
    TensorView view = TensorView.ofAddress(64, FLOAT32, Device.CPU, 3, 4);
    assertRefused(() -> view.withRowStride(3), "rowStride: 3", "4");
    assertRefused(() -> view.withRowStride(-1), "rowStride: -1", "4");
    assertRefused(() -> view.reshape(5, 2), "[5, 2]", "10", "12");
    assertRefused(() -> view.withRowStride(5).reshape(12), "gaps");
    assertRefused(() -> view.rows(2, 4), "2 to 4", "0 to 3");
    assertRefused(() -> view.rows(-1, 2), "-1 to 2");
    assertRefused(() -> view.rows(2, 1), "2 to 1");
    try (NativeBuffer buffer = NativeBuffer.allocate(4 * 11)) {
      assertRefused(() -> buffer.view(FLOAT32, 3, 4), "44 bytes", "48");
      assertRefused(() -> buffer.view(FLOAT32, 2, 4).withRowStride(8), "44 bytes", "48");
      buffer.view(FLOAT32, 2, 4).withRowStride(7);
      assertRefused(() -> buffer.view(4, FLOAT32, 11), "40 bytes", "44");
      assertRefused(() -> buffer.view(45, FLOAT32, 0), "offset: 45", "44");
    }
  }

  @Test
  void rowsAndReshapeSeeTheSameMemory() {
    try (Arena arena = new Arena()) {
      TensorView view = arena.tensor(3, 2, FLOAT16, 2, 2, 3);
      view.copyFrom(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11});
      assertArrayEquals(new float[] {3, 4, 5, 6, 7, 8}, view.rows(1, 3).toFloats());
      assertEquals(5, view.rows(1, 3).rowStride());
      assertEquals(0, view.rows(4, 4).elements());
      view.rows(3, 4).copyFrom(new float[] {-1, -2, -3});
      assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, -1, -2, -3}, view.toFloats());
      assertFalse(view.isContiguous());
      assertTrue(view.rows(1, 2).isContiguous());
      TensorView dense = arena.tensor(FLOAT32, 4, 3).copyFrom(new float[12]);
      dense.reshape(2, 6).rows(1, 2).copyFrom(new float[] {1, 2, 3, 4, 5, 6});
      assertArrayEquals(new float[] {0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6}, dense.toFloats());
      assertSame(dense, dense.copyFrom(new float[12]));
      arena.assertGuards();
    }
  }

  @Test
  void copiesBetweenStridedTensors() {
    try (Arena arena = new Arena()) {
      for (DType from : DType.values()) {
        for (DType to : DType.values()) {
          if (from == DType.FLOAT8_E8M0 || to == DType.FLOAT8_E8M0) {
            continue; // there is no conversion to it
          }
          TensorView source = arena.tensor(1, 3, from, 3, 5);
          TensorView target = arena.tensor(3, 1, to, 3, 5);
          float[] values = {0, 1, -2, 3, 4, -5, 6, 7, 8, 9, 10, 11, -12, 13, 14};
          source.copyFrom(values);
          target.copyFrom(source);
          float[] expected = arena.tensor(to, 3, 5).copyFrom(source.toFloats()).toFloats();
          assertArrayEquals(expected, target.toFloats(), from + " to " + to);
        }
      }
      arena.assertGuards();
    }
  }

  @Test
  void invalidCopiesAreRefused() {
    try (Arena arena = new Arena()) {
      TensorView view = arena.tensor(FLOAT32, 3, 4);
      TensorView other = arena.tensor(FLOAT32, 4, 3);
      List<byte[]> before = arena.snapshot();
      assertRefused(() -> view.copyFrom(new float[11]), "11", "12");
      assertRefused(() -> view.copyFrom(new double[13]), "13", "12");
      assertRefused(() -> view.copyFrom(other), "[4, 3]", "[3, 4]");
      assertRefused(() -> view.copyFrom((TensorView) null), "source", "null");
      assertRefused(() -> view.rows(0, 2).copyFrom(view.rows(1, 3)), "overlaps");
      TensorView wide = TensorView.ofAddress(view.address(), BFLOAT16, Device.CPU, 3, 4);
      assertRefused(() -> wide.copyFrom(view), "overlaps");
      TensorView remote = TensorView.ofAddress(64, FLOAT32, Device.cuda(1), 3, 4);
      for (Runnable call :
          List.<Runnable>of(
              () -> view.copyFrom(remote), () -> remote.copyFrom(view), remote::toFloats)) {
        String message = assertThrows(UnsupportedOperationException.class, call::run).getMessage();
        assertTrue(message.contains("cuda:1"), message);
      }
      arena.assertUnchanged(before, "a refused copy");
      // In place, from one 16-bit format to the other.
      TensorView half = arena.tensor(FLOAT16, 4).copyFrom(new float[] {1, 2, 3, 4.5f});
      TensorView brain = TensorView.ofAddress(half.address(), BFLOAT16, Device.CPU, 4);
      assertArrayEquals(new float[] {1, 2, 3, 4.5f}, brain.copyFrom(half).toFloats());
    }
  }

  @Test
  void closedBufferIsRefused() {
    NativeBuffer buffer = NativeBuffer.allocate(FLOAT32, 4);
    TensorView view = buffer.view(FLOAT32, 4).copyFrom(new float[4]);
    ByteBuffer other = direct(16);
    TensorView kept = TensorView.of(other, FLOAT32, 4).withOwner(buffer);
    buffer.close();
    for (TensorView dead : List.of(view, view.rows(0, 1), view.reshape(2, 2), kept)) {
      assertRefused(dead::toFloats, "tensor", "closed");
      assertRefused(dead::toBytes, "tensor", "closed");
      assertRefused(() -> dead.copyFrom(new double[(int) dead.elements()]), "tensor", "closed");
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void ownerStaysReachableWithTheView(boolean buffer) throws InterruptedException {
    // Only the view references its source.
    Supplier<WeakReference<Object>> nothing = () -> new WeakReference<>(null);
    WeakReference<?> owner = nothing.get();
    TensorView view;
    if (buffer) {
      ByteBuffer memory = direct(1 << 16);
      owner = new WeakReference<>(memory);
      view = TensorView.of(memory, FLOAT32, 4);
      memory = null;
    } else {
      Object keepAlive = new Object();
      owner = new WeakReference<>(keepAlive);
      view = TensorView.of(direct(16), FLOAT32, 4).withOwner(keepAlive).rows(0, 1);
      keepAlive = null;
    }
    System.gc();
    assertTrue(owner.get() != null, "collected while its view is in use");
    assertEquals(4, view.size(-1));
    view = null;
    for (int i = 0; i < 100 && owner.get() != null; i++) {
      System.gc();
      Thread.sleep(10);
    }
    assertNull(owner.get(), "kept although nothing refers to it");
  }
}
