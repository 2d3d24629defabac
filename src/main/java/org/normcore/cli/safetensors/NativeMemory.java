package org.normcore.cli.safetensors;

import java.nio.ByteBuffer;
import org.bytedeco.javacpp.BytePointer;

/** Buffers over memory that somebody else owns. */
final class NativeMemory {
  private NativeMemory() {}

  /** A buffer over {@code bytes} bytes from {@code address}; the caller keeps the memory alive. */
  static ByteBuffer buffer(long address, int bytes) {
    return new Window(address, bytes).asByteBuffer();
  }

  private static final class Window extends BytePointer {
    Window(long address, int bytes) {
      this.address = address;
      this.limit = bytes;
      this.capacity = bytes;
    }
  }
}
