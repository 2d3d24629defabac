package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

class NativeBufferTest {
  @Test
  void hasRequestedSizeAndAlignment() {
    for (long bytes : new long[] {0, 1, 63, 64, 65, 4096, 1 << 20}) {
      try (NativeBuffer buffer = NativeBuffer.allocate(bytes)) {
        assertEquals(0, buffer.address() % 64);
        assertEquals(bytes, buffer.bytes());
        assertEquals(bytes, buffer.asByteBuffer().capacity());
        assertEquals(ByteOrder.nativeOrder(), buffer.asByteBuffer().order());
      }
    }
    try (NativeBuffer buffer = NativeBuffer.allocate(DType.BFLOAT16, 3, 5)) {
      assertEquals(30, buffer.bytes());
    }
  }

  @Test
  void zeroClears() {
    try (NativeBuffer buffer = NativeBuffer.allocate(100)) {
      ByteBuffer bytes = buffer.asByteBuffer();
      for (int i = 0; i < 100; i++) {
        bytes.put(i, (byte) -1);
      }
      buffer.zero();
      for (int i = 0; i < 100; i++) {
        assertEquals(0, bytes.get(i));
      }
    }
  }

  @Test
  void invalidSizesAreRefused() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> NativeBuffer.allocate(-1)).getMessage();
    assertTrue(message.contains("bytes: -1"), message);
    assertThrows(IllegalArgumentException.class, () -> NativeBuffer.allocate(DType.FLOAT32, 2, -2));
    assertThrows(
        IllegalArgumentException.class,
        () -> NativeBuffer.allocate(DType.FLOAT64, 1L << 40, 1L << 40));
    assertThrows(OutOfMemoryError.class, () -> NativeBuffer.allocate(1L << 60));
  }

  @Test
  void closedBufferRefusesCalls() {
    NativeBuffer buffer = NativeBuffer.allocate(64);
    assertTrue(buffer.isOpen());
    buffer.close();
    assertFalse(buffer.isOpen());
    buffer.close();
    assertThrows(IllegalStateException.class, buffer::address);
    assertThrows(IllegalStateException.class, buffer::zero);
    assertThrows(IllegalStateException.class, buffer::asByteBuffer);
    String message =
        assertThrows(IllegalStateException.class, () -> buffer.view(DType.FLOAT32, 4)).getMessage();
    assertEquals("NativeBuffer is closed", message);
    assertTrue(buffer.toString().contains("closed"));
    assertEquals(64, buffer.bytes());
  }
}
