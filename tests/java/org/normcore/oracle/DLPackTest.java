package org.normcore.oracle;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.jna.Callback;
import com.sun.jna.CallbackReference;
import com.sun.jna.Function;
import com.sun.jna.Memory;
import com.sun.jna.NativeLibrary;
import com.sun.jna.Pointer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.LongFunction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.normcore.DLPack;
import org.normcore.DLPackTensor;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.NativeBuffer;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.TensorView;
import org.normcore.testing.NativeMemory;

/** DLPack's structures, written and read with the layout of its header. */
class DLPackTest {
  /** A deleter like that of another library. */
  public interface Deleter extends Callback {
    void invoke(Pointer managed);
  }

  private final List<Long> deleted = Collections.synchronizedList(new ArrayList<>());
  private final Deleter deleter = managed -> deleted.add(Pointer.nativeValue(managed));

  /** A structure in the test's memory: [2, 3] of float32 on the CPU, without strides. */
  private final class Managed {
    final boolean versioned;
    final int tensor;
    final Memory memory;
    final Memory data = new Memory(256);
    Memory shape;
    Memory strides;

    Managed(boolean versioned) {
      this.versioned = versioned;
      this.tensor = versioned ? 32 : 0;
      this.memory = new Memory(versioned ? 80 : 64);
      memory.clear();
      if (versioned) {
        memory.setInt(0, 1);
        memory.setInt(4, 3);
      }
      memory.setPointer(versioned ? 16 : 56, CallbackReference.getFunctionPointer(deleter));
      memory.setPointer(tensor, data);
      device(1, 0);
      dtype(2, 32, 1);
      shape(2, 3);
      for (int i = 0; i < 64; i++) {
        data.setFloat(4L * i, i);
      }
    }

    Managed device(int type, int index) {
      memory.setInt(tensor + 8, type);
      memory.setInt(tensor + 12, index);
      return this;
    }

    Managed dtype(int code, int bits, int lanes) {
      memory.setByte(tensor + 20, (byte) code);
      memory.setByte(tensor + 21, (byte) bits);
      memory.setShort(tensor + 22, (short) lanes);
      return this;
    }

    Managed shape(long... sizes) {
      memory.setInt(tensor + 16, sizes.length);
      shape = longs(sizes);
      memory.setPointer(tensor + 24, shape);
      return this;
    }

    Managed strides(long... elements) {
      strides = longs(elements);
      memory.setPointer(tensor + 32, strides);
      return this;
    }

    Managed byteOffset(long bytes) {
      memory.setLong(tensor + 40, bytes);
      return this;
    }

    long address() {
      return Pointer.nativeValue(memory);
    }

    DLPackTensor take() {
      return versioned ? DLPack.importVersioned(address()) : DLPack.importTensor(address());
    }

    void assertRefused(String... parts) {
      String message = assertThrows(IllegalArgumentException.class, this::take).getMessage();
      for (String part : parts) {
        assertTrue(message.contains(part), message);
      }
      assertEquals(List.of(), deleted, "a refused tensor stays the caller's");
    }
  }

  private static Memory longs(long... values) {
    Memory memory = new Memory(8L * Math.max(1, values.length));
    memory.write(0, values, 0, values.length);
    return memory;
  }

  private static Pointer at(long address) {
    return new Pointer(address);
  }

  private static Function deleterOf(long managed, boolean versioned) {
    return Function.getFunction(at(managed).getPointer(versioned ? 16 : 56));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void importSharesMemoryAndDeletesOnce(boolean versioned) {
    Managed managed = new Managed(versioned);
    DLPackTensor imported = managed.take();
    TensorView tensor = imported.tensor();
    assertEquals(Pointer.nativeValue(managed.data), tensor.address());
    assertEquals("FLOAT32[2, 3] on cpu", tensor.toString());
    assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5}, tensor.toFloats());
    tensor.copyFrom(new float[] {7, 7, 7, 7, 7, 7});
    assertEquals(7, managed.data.getFloat(20));
    assertFalse(imported.isReadOnly());
    assertEquals(List.of(), deleted);
    imported.close();
    imported.close();
    assertEquals(List.of(managed.address()), deleted);
    assertThrows(IllegalStateException.class, imported::tensor);
    String message = assertThrows(IllegalArgumentException.class, tensor::toFloats).getMessage();
    assertEquals("tensor: the DLPackTensor under it is closed; expected an open one", message);
    // The same structure may be imported again.
    managed.take().close();
    assertEquals(2, deleted.size());
  }

  @Test
  void unclosedImportIsDeletedOnce() throws InterruptedException {
    Managed managed = new Managed(true);
    TensorView view = managed.take().tensor();
    NativeMemory.settle();
    assertEquals(List.of(), deleted, "a view keeps the import");
    assertEquals(5, view.toFloats()[5]);
    view = null;
    for (int i = 0; i < 250 && deleted.isEmpty(); i++) {
      System.gc();
      Thread.sleep(20);
    }
    NativeMemory.settle();
    assertEquals(List.of(managed.address()), deleted);
  }

  @Test
  void tensorWithoutDeleterIsReleased() {
    Managed managed = new Managed(false);
    managed.memory.setPointer(56, null);
    managed.take().close();
    assertEquals(List.of(), deleted);
  }

  @Test
  void secondImportIsRefused() {
    Managed managed = new Managed(false);
    try (DLPackTensor first = managed.take()) {
      managed.assertRefused("has been imported and not closed");
      assertTrue(first.isOpen());
    }
    assertEquals(1, deleted.size());
  }

  @ParameterizedTest
  @CsvSource({
    "2, 64, FLOAT64",
    "2, 32, FLOAT32",
    "2, 16, FLOAT16",
    "4, 16, BFLOAT16",
    "10, 8, FLOAT8_E4M3",
    "12, 8, FLOAT8_E5M2",
    "14, 8, FLOAT8_E8M0"
  })
  void dtypesBothWays(int code, int bits, DType dtype) {
    try (DLPackTensor imported = new Managed(true).dtype(code, bits, 1).take()) {
      assertEquals(dtype, imported.tensor().dtype());
      long exported = DLPack.exportTensor(imported.tensor());
      assertEquals(code, at(exported).getByte(20));
      assertEquals(bits, at(exported).getByte(21));
      assertEquals(1, at(exported).getShort(22));
      DLPack.discard(exported);
    }
  }

  @ParameterizedTest
  @CsvSource({"1, 0, cpu", "2, 3, cuda:3", "3, 0, cpu", "13, 1, cuda:1"})
  void devicesImported(int type, int index, String device) {
    try (DLPackTensor imported = new Managed(false).device(type, index).take()) {
      assertEquals(device, imported.tensor().device().toString());
    }
    assertEquals(1, deleted.size());
  }

  @Test
  void devicesExported() {
    TensorView onGpu = TensorView.ofAddress(4096, DType.BFLOAT16, Device.cuda(2), 4, 8);
    long exported = DLPack.exportVersioned(onGpu);
    assertEquals(4096, at(exported).getLong(32));
    assertEquals(2, at(exported).getInt(40));
    assertEquals(2, at(exported).getInt(44));
    DLPack.discard(exported);
  }

  @Test
  void shapesAndStridesImported() {
    record Case(long[] shape, long[] strides, String expected) {}
    List<Case> cases =
        List.of(
            new Case(new long[] {}, null, "FLOAT32[] on cpu"),
            new Case(new long[] {5}, new long[] {1}, "FLOAT32[5] on cpu"),
            new Case(new long[] {1}, new long[] {9}, "FLOAT32[1] on cpu"),
            new Case(new long[] {2, 3}, new long[] {3, 1}, "FLOAT32[2, 3] on cpu"),
            new Case(
                new long[] {2, 3},
                new long[] {5, 1},
                "FLOAT32[2, 3] with a row stride of 5 on cpu"),
            new Case(
                new long[] {2, 1},
                new long[] {5, 7},
                "FLOAT32[2, 1] with a row stride of 5 on cpu"),
            new Case(
                new long[] {2, 2, 3},
                new long[] {10, 5, 1},
                "FLOAT32[2, 2, 3] with a row stride of 5 on cpu"),
            // The stride of a dimension of size 1 is ignored.
            new Case(
                new long[] {2, 1, 2, 3},
                new long[] {10, -1, 5, 1},
                "FLOAT32[2, 1, 2, 3] with a row stride of 5 on cpu"),
            new Case(new long[] {1, 3}, new long[] {0, 1}, "FLOAT32[1, 3] on cpu"),
            new Case(new long[] {0, 3}, new long[] {0, 0}, "FLOAT32[0, 3] on cpu"));
    for (Case c : cases) {
      Managed managed = new Managed(true).shape(c.shape);
      if (c.strides != null) {
        managed.strides(c.strides);
      }
      try (DLPackTensor imported = managed.take()) {
        assertEquals(c.expected, imported.tensor().toString());
        assertArrayEquals(c.shape, imported.tensor().shape());
      }
    }
    assertEquals(cases.size(), deleted.size());
  }

  @Test
  void byteOffsetIsAdded() {
    try (DLPackTensor imported = new Managed(false).byteOffset(8).take()) {
      assertArrayEquals(new float[] {2, 3, 4, 5, 6, 7}, imported.tensor().toFloats());
    }
  }

  @Test
  void unsupportedTensorsAreRefused() {
    new Managed(false).device(4, 0).assertRefused("device_type: 4", "CUDA (2)");
    new Managed(false).device(2, -1).assertRefused("device_id: -1");
    new Managed(false).dtype(0, 32, 1).assertRefused("dtype: code 0 with 32 bits", "bfloat (4)");
    new Managed(true).dtype(2, 8, 1).assertRefused("dtype: code 2 with 8 bits");
    new Managed(true).dtype(4, 32, 1).assertRefused("dtype: code 4 with 32 bits");
    new Managed(true).dtype(11, 8, 1).assertRefused("dtype: code 11 with 8 bits");
    new Managed(true).dtype(2, 32, 4).assertRefused("lanes: 4; expected 1");
    new Managed(false).shape(2, -3).assertRefused("shape: [2, -3]");
    new Managed(false).strides(1, 2).assertRefused("strides: [1, 2] with shape [2, 3]", "1 in");
    new Managed(false).strides(2, 1).assertRefused("at least 3 apart");
    new Managed(false).strides(0, 1).assertRefused("at least 3 apart");
    new Managed(false).strides(-3, 1).assertRefused("at least 3 apart");
    new Managed(false)
        .shape(2, 2, 3)
        .strides(8, 3, 1)
        .assertRefused("equal distances: 6 in dimension 0");
    new Managed(false).shape(Long.MAX_VALUE, 2).assertRefused("beyond the address space");
    new Managed(false)
        .shape(2, 4, 3)
        .strides(8, 1L << 62, 1)
        .assertRefused("expected a tensor within the address space");
    Managed ranks = new Managed(false);
    ranks.memory.setInt(16, 65);
    ranks.assertRefused("ndim: 65; expected 0 to 64");
    Managed shapeless = new Managed(false);
    shapeless.memory.setPointer(24, null);
    shapeless.assertRefused("shape: null; expected 2 sizes");
    Managed empty = new Managed(false);
    empty.memory.setPointer(0, null);
    empty.assertRefused("data: null; expected 6 elements");
    Managed next = new Managed(true);
    next.memory.setInt(0, 2);
    next.assertRefused("version: 2.3; expected major version 1");
    for (LongFunction<DLPackTensor> take :
        List.<LongFunction<DLPackTensor>>of(DLPack::importTensor, DLPack::importVersioned)) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> take.apply(0)).getMessage();
      assertTrue(message.startsWith("address: 0; expected that of a DLManagedTensor"), message);
    }
  }

  @Test
  void readOnlyTensorsRefuseWrites() {
    Managed managed = new Managed(true);
    managed.memory.setLong(24, 1);
    try (DLPackTensor imported = managed.take();
        NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 2, 3);
        RmsNorm norm = RmsNorm.builder(3).input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build()) {
      assertTrue(imported.isReadOnly());
      TensorView x = imported.tensor();
      TensorView weight = x.rows(1, 2).reshape(3);
      TensorView y = memory.view(DType.FLOAT32, 2, 3);
      norm.infer(x, weight, y);
      String message =
          assertThrows(IllegalArgumentException.class, () -> norm.infer(y, weight, x)).getMessage();
      assertEquals(
          "y: FLOAT32[2, 3] on cpu is in an imported DLPack tensor, which is read-only;"
              + " expected writable memory",
          message);
      assertThrows(IllegalArgumentException.class, () -> x.copyFrom(new float[6]));
      assertThrows(IllegalArgumentException.class, () -> x.copyFrom(y));
      assertThrows(IllegalArgumentException.class, () -> DLPack.exportTensor(x));
      assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5}, x.toFloats());
      // Another export keeps the read-only flag.
      long exported = DLPack.exportVersioned(x);
      assertEquals(1, at(exported).getLong(24));
      DLPack.discard(exported);
      exported = DLPack.exportReadOnly(y);
      assertEquals(1, at(exported).getLong(24));
      DLPack.discard(exported);
      exported = DLPack.exportVersioned(y);
      assertEquals(0, at(exported).getLong(24));
      DLPack.discard(exported);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void exportDescribesTheTensor(boolean versioned) {
    NativeBuffer memory = NativeBuffer.allocate(1024);
    TensorView tensor = memory.view(64, DType.BFLOAT16, 2, 3, 4).withRowStride(6);
    long exported = versioned ? DLPack.exportVersioned(tensor) : DLPack.exportTensor(tensor);
    int at = versioned ? 32 : 0;
    if (versioned) {
      assertEquals(1, at(exported).getInt(0));
      assertEquals(1, at(exported).getInt(4));
      assertEquals(0, at(exported).getLong(24));
    }
    assertEquals(tensor.address(), at(exported).getLong(at));
    assertEquals(1, at(exported).getInt(at + 8));
    assertEquals(0, at(exported).getInt(at + 12));
    assertEquals(3, at(exported).getInt(at + 16));
    assertArrayEquals(new long[] {2, 3, 4}, at(exported).getPointer(at + 24).getLongArray(0, 3));
    assertArrayEquals(new long[] {18, 6, 1}, at(exported).getPointer(at + 32).getLongArray(0, 3));
    assertEquals(0, at(exported).getLong(at + 40));
    // The memory stays valid while the consumer holds the tensor.
    String message = assertThrows(IllegalStateException.class, memory::close).getMessage();
    assertEquals("NativeBuffer is in use", message);
    deleterOf(exported, versioned).invokeVoid(new Object[] {at(exported)});
    memory.close();
    assertThrows(
        IllegalArgumentException.class,
        () -> {
          if (versioned) {
            DLPack.exportVersioned(tensor);
          } else {
            DLPack.exportTensor(tensor);
          }
        });
  }

  @Test
  void exportKeepsMemoryUntilDeleted() throws InterruptedException {
    NativeMemory.settle();
    long before = org.normcore.internal.Capi.allocatedBytes();
    long exported =
        DLPack.exportTensor(NativeBuffer.allocate(1 << 16).view(DType.FLOAT32, 1 << 14));
    NativeMemory.settle();
    assertTrue(org.normcore.internal.Capi.allocatedBytes() >= before + (1 << 16));
    deleterOf(exported, false).invokeVoid(new Object[] {at(exported)});
    for (int i = 0; i < 250 && org.normcore.internal.Capi.allocatedBytes() != before; i++) {
      System.gc();
      Thread.sleep(20);
    }
    assertEquals(before, org.normcore.internal.Capi.allocatedBytes());
  }

  /** A thread of the C library that is not attached to the JVM. */
  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void deleterMayBeCalledByAForeignThread(boolean versioned) {
    NativeLibrary c = NativeLibrary.getInstance("c");
    for (int i = 0; i < 50; i++) {
      NativeBuffer memory = NativeBuffer.allocate(64);
      TensorView tensor = memory.view(DType.FLOAT32, 16);
      long exported = versioned ? DLPack.exportVersioned(tensor) : DLPack.exportTensor(tensor);
      Memory thread = new Memory(8);
      Object[] start = {thread, null, deleterOf(exported, versioned), at(exported)};
      assertEquals(0, c.getFunction("pthread_create").invokeInt(start));
      assertEquals(
          0, c.getFunction("pthread_join").invokeInt(new Object[] {thread.getLong(0), null}));
      memory.close();
      String message =
          assertThrows(IllegalArgumentException.class, () -> DLPack.discard(exported)).getMessage();
      assertTrue(message.contains("whose deleter has not been called"), message);
    }
  }

  @Test
  void exportCanBeImported() {
    try (NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 4)) {
      TensorView tensor = memory.view(DType.FLOAT32, 2, 2).copyFrom(new float[] {1, 2, 3, 4});
      try (DLPackTensor again = DLPack.importVersioned(DLPack.exportVersioned(tensor))) {
        assertArrayEquals(new float[] {1, 2, 3, 4}, again.tensor().toFloats());
        assertThrows(IllegalStateException.class, memory::close);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void everyDTypeSurvives(DType dtype) {
    try (NativeBuffer memory = NativeBuffer.allocate(dtype, 3, 5).zero();
        DLPackTensor again = DLPack.importTensor(DLPack.exportTensor(memory.view(dtype, 3, 5)))) {
      assertEquals(dtype, again.tensor().dtype());
      assertArrayEquals(new long[] {3, 5}, again.tensor().shape());
    }
  }
}
