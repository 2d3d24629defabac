package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.util.List;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.normcore.internal.CudaCapi;
import org.normcore.testing.Arena;
import org.normcore.testing.NeedsCuda;
import org.normcore.testing.Values;

/** Devices, their memory, copies and streams. */
@NeedsCuda
class CudaMemoryTest {
  private static final Device GPU = Device.cuda(0);
  private static final CudaStream STREAM = CudaStream.ofDefault(GPU);

  /** A pointer as the CUDA presets make it: an address without a size. */
  private static final class RawPointer extends Pointer {
    RawPointer(long address) {
      this.address = address;
    }
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void devicesAreDescribed() {
    assertTrue(Cuda.isAvailable());
    Cuda.ensureAvailable();
    assertNull(Cuda.unavailabilityCause());
    assertTrue(Cuda.deviceCount() >= 1);
    List<CudaDevice> devices = Cuda.devices();
    assertEquals(Cuda.deviceCount(), devices.size());
    for (int i = 0; i < devices.size(); i++) {
      CudaDevice device = devices.get(i);
      assertEquals(Device.cuda(i), device.device());
      assertEquals(device, Cuda.device(Device.cuda(i)));
      assertFalse(device.name().isEmpty());
      assertTrue(device.computeCapability() >= 50, device.toString());
      assertTrue(device.multiprocessors() >= 1, device.toString());
      assertTrue(device.memoryBytes() >= 1 << 20, device.toString());
      assertTrue(device.toString().startsWith(device.name() + " (cuda:" + i), device.toString());
    }
    assertRefused(() -> Cuda.device(Device.CPU), "device: cpu");
  }

  @Test
  void buffersHaveRequestedSizeAndAlignment() {
    for (long bytes : new long[] {0, 1, 255, 256, 1 << 20}) {
      try (CudaBuffer buffer = CudaBuffer.allocate(GPU, bytes)) {
        assertEquals(bytes, buffer.bytes());
        assertEquals(GPU, buffer.device());
        assertNotEquals(0, buffer.address());
        assertEquals(0, buffer.address() % 256);
        assertTrue(buffer.toString().endsWith(" on cuda:0)"), buffer.toString());
        assertSame(buffer, buffer.zero(STREAM));
      }
    }
    CudaBuffer buffer = CudaBuffer.allocate(GPU, BFLOAT16, 3, 5);
    assertEquals(30, buffer.bytes());
    TensorView view = buffer.view(10, BFLOAT16, 2, 5);
    assertEquals(GPU, view.device());
    assertEquals(buffer.address() + 10, view.address());
    assertRefused(() -> buffer.view(12, BFLOAT16, 2, 5), "buffer: 18 bytes");
    buffer.close();
    buffer.close();
    assertFalse(buffer.isOpen());
    assertTrue(buffer.toString().endsWith("closed)"), buffer.toString());
    assertThrows(IllegalStateException.class, buffer::address);
    assertThrows(IllegalStateException.class, () -> buffer.zero(STREAM));
    assertThrows(IllegalStateException.class, () -> buffer.view(BFLOAT16, 1));
    assertRefused(() -> CudaBuffer.allocate(GPU, -1), "bytes: -1");
    assertThrows(OutOfMemoryError.class, () -> CudaBuffer.allocate(GPU, 1L << 60));
  }

  @Test
  void copiesKeepBytesAndGaps() {
    try (Arena arena = new Arena();
        CudaBuffer first = CudaBuffer.allocate(GPU, 4096).zero(STREAM);
        CudaBuffer second = CudaBuffer.allocate(GPU, 4096).zero(STREAM)) {
      TensorView source = arena.tensor(1, 3, FLOAT32, 4, 7);
      for (int row = 0; row < 4; row++) {
        source.rows(row, row + 1).copyFrom(Values.normal(row, 7));
      }
      TensorView target = arena.tensor(0, 2, FLOAT32, 4, 7);
      TensorView there = first.view(3, FLOAT32, 4, 7);
      TensorView spread = second.view(FLOAT32, 4, 7).withRowStride(9);
      assertSame(there, there.copyFrom(source, STREAM));
      spread.copyFrom(there, STREAM);
      target.copyFrom(spread, STREAM);
      TensorView everything = arena.tensor(FLOAT32, 36).copyFrom(second.view(FLOAT32, 36), STREAM);
      STREAM.synchronize();
      assertArrayEquals(source.toBytes(), target.toBytes());
      arena.assertGuards();
      // The gaps between rows are still zero.
      float[] values = everything.toFloats();
      for (int i = 0; i < 36; i++) {
        assertEquals(i % 9 < 7 ? source.toFloats()[i / 9 * 7 + i % 9] : 0, values[i]);
      }
      first.view(FLOAT32, 0, 7).copyFrom(source.rows(0, 0), STREAM);
    }
  }

  @Test
  void devicesCopyToEachOther() {
    for (CudaDevice other : Cuda.devices()) {
      try (Arena arena = new Arena();
          CudaBuffer near = CudaBuffer.allocate(GPU, FLOAT64, 50);
          CudaBuffer far = CudaBuffer.allocate(other.device(), FLOAT64, 50)) {
        TensorView source = arena.tensor(FLOAT64, Values.normal(1, 50), 50);
        TensorView target = arena.tensor(FLOAT64, 50);
        TensorView there = far.view(FLOAT64, 50);
        near.view(FLOAT64, 50).copyFrom(source, STREAM);
        there.copyFrom(near.view(FLOAT64, 50), STREAM);
        STREAM.synchronize();
        CudaStream stream = CudaStream.ofDefault(other.device());
        target.copyFrom(there, stream);
        stream.synchronize();
        assertArrayEquals(source.toBytes(), target.toBytes(), other.toString());
      }
    }
  }

  @Test
  void wrongCopiesAreRefused() {
    try (Arena arena = new Arena();
        CudaBuffer buffer = CudaBuffer.allocate(GPU, 256)) {
      TensorView host = arena.tensor(FLOAT32, 3, 4);
      TensorView there = buffer.view(FLOAT32, 3, 4);
      assertRefused(() -> there.copyFrom(null, STREAM), "source: null");
      assertRefused(() -> there.copyFrom(host, null), "stream: null", "cuda:0");
      assertRefused(() -> host.copyFrom(host, STREAM), "host memory");
      assertRefused(() -> there.copyFrom(host.reshape(4, 3), STREAM), "shape [4, 3]", "[3, 4]");
      assertRefused(
          () -> there.copyFrom(arena.tensor(BFLOAT16, 3, 4), STREAM), "BFLOAT16", "FLOAT32");
      assertRefused(
          () -> there.copyFrom(buffer.view(16, FLOAT32, 3, 4), STREAM), "source: ", "overlaps");
      assertRefused(
          () -> there.copyFrom(host, CudaStream.ofDefault(Device.cuda(1))), "stream: ", "cuda:0");
      CudaStream closed = CudaStream.create(GPU);
      closed.close();
      assertRefused(() -> there.copyFrom(host, closed), "stream: is closed");
      assertRefused(() -> buffer.zero(null), "stream: null");
      assertRefused(() -> buffer.zero(CudaStream.ofDefault(Device.cuda(1))), "stream: ");
      assertRefused(() -> buffer.zero(closed), "stream: is closed");
      TensorView dead;
      try (NativeBuffer short1 = NativeBuffer.allocate(FLOAT32, 3, 4)) {
        dead = short1.view(FLOAT32, 3, 4);
      }
      assertRefused(() -> there.copyFrom(dead, STREAM), "source: ", "NativeBuffer", "closed");
      assertRefused(() -> dead.copyFrom(there, STREAM), "target: ", "closed");
      for (Runnable call :
          List.<Runnable>of(
              there::toFloats,
              there::toDoubles,
              there::toBytes,
              () -> there.copyFrom(new float[12]),
              () -> there.copyFrom(new double[12]),
              () -> there.copyFrom(host),
              () -> host.copyFrom(there))) {
        String message = assertThrows(UnsupportedOperationException.class, call::run).getMessage();
        assertTrue(message.contains("is on cuda:0"), message);
        assertTrue(message.contains("copy it there first"), message);
      }
    }
  }

  @Test
  void presetPointersAreViewed() {
    try (Arena arena = new Arena();
        CudaBuffer buffer = CudaBuffer.allocate(GPU, FLOAT32, 8);
        CudaStream own = CudaStream.create(GPU)) {
      TensorView source = arena.tensor(FLOAT32, Values.normal(1, 8), 8);
      TensorView target = arena.tensor(FLOAT32, 8);
      Pointer pointer = new RawPointer(buffer.address());
      TensorView there = TensorView.of(pointer, FLOAT32, GPU, 2, 4);
      assertEquals(GPU, there.device());
      assertEquals(buffer.address(), there.address());
      CudaStream same = CudaStream.of(GPU, new RawPointer(own.address()));
      assertEquals(own.address(), same.address());
      there.reshape(8).copyFrom(source, same);
      target.copyFrom(there.reshape(8), own);
      same.synchronize();
      assertArrayEquals(source.toBytes(), target.toBytes());
      same.close();
      assertTrue(same.isOpen() && own.isOpen(), "another library's stream is not ours to close");
      own.synchronize();
    }
  }

  @Test
  void streamsAreMadeAndClosed() {
    CudaStream stream = CudaStream.create(GPU);
    assertNotEquals(0, stream.address());
    assertEquals(GPU, stream.device());
    assertTrue(stream.toString().endsWith(" on cuda:0)"), stream.toString());
    stream.synchronize();
    stream.close();
    stream.close();
    assertFalse(stream.isOpen());
    assertThrows(IllegalStateException.class, stream::address);
    assertThrows(IllegalStateException.class, stream::synchronize);
    assertEquals("CudaStream(default on cuda:0)", STREAM.toString());
    assertEquals(0, STREAM.address());
    assertEquals(0, CudaStream.of(GPU, new RawPointer(0)).address());
    STREAM.synchronize();
    STREAM.close();
    assertTrue(STREAM.isOpen());
  }

  @Test
  void cudaErrorsHaveNameAndText() {
    // An unallocated address: CUDA refuses it and remains usable.
    String message =
        assertThrows(CudaException.class, () -> CudaCapi.free(0, 0x1234500)).getMessage();
    assertTrue(message.contains("cudaErrorInvalidValue"), message);
    assertTrue(message.contains("invalid argument"), message);
    STREAM.synchronize();
  }
}
