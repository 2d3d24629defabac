package org.normcore.internal;

import java.lang.ref.Cleaner;
import java.nio.Buffer;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.CharBuffer;
import java.nio.DoubleBuffer;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.ShortBuffer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.normcore.internal.capi.global.normcore;

/** Host memory by address. */
public final class Memory {
  /** Frees native memory and plans whose owners were not closed. */
  public static final Cleaner CLEANER = Cleaner.create();

  private Memory() {}

  /** Returns the address of the element at a direct buffer's position. */
  public static long address(Buffer direct) {
    NativeLibrary.ensureLoaded();
    // A slice has position 0. JavaCPP would scale any other position by its own element size.
    Buffer slice = direct.slice();
    try (Pointer pointer = new Pointer(slice)) {
      return pointer.address();
    }
  }

  /** Returns the byte order of a buffer. */
  public static ByteOrder order(Buffer buffer) {
    if (buffer instanceof ByteBuffer b) {
      return b.order();
    } else if (buffer instanceof ShortBuffer b) {
      return b.order();
    } else if (buffer instanceof CharBuffer b) {
      return b.order();
    } else if (buffer instanceof IntBuffer b) {
      return b.order();
    } else if (buffer instanceof FloatBuffer b) {
      return b.order();
    } else if (buffer instanceof LongBuffer b) {
      return b.order();
    } else {
      return ((DoubleBuffer) buffer).order();
    }
  }

  /** Returns the size of a buffer's elements in bytes. */
  public static int elementBytes(Buffer buffer) {
    if (buffer instanceof ByteBuffer) {
      return 1;
    } else if (buffer instanceof ShortBuffer || buffer instanceof CharBuffer) {
      return 2;
    } else if (buffer instanceof IntBuffer || buffer instanceof FloatBuffer) {
      return 4;
    } else {
      return 8;
    }
  }

  /**
   * Returns a direct buffer over memory, in native byte order. It does not keep the memory's owner
   * reachable.
   */
  public static ByteBuffer byteBuffer(long address, long bytes) {
    if (bytes == 0) {
      return ByteBuffer.allocateDirect(0).order(ByteOrder.nativeOrder());
    }
    return new Block(address, bytes).asByteBuffer();
  }

  /** Keeps an object reachable as long as a buffer is. */
  public static void keepAlive(Buffer buffer, Object object) {
    CLEANER.register(buffer, new Hold(object));
  }

  /** Sets bytes to 0. */
  public static void zero(long address, long bytes) {
    if (bytes > 0) {
      Pointer.memset(new Block(address, bytes), 0, bytes);
    }
  }

  /** Copies bytes as they are, between blocks that do not overlap. */
  public static void copy(long target, long source, long bytes) {
    if (bytes > 0) {
      Pointer.memcpy(new Block(target, bytes), new Block(source, bytes), bytes);
    }
  }

  /**
   * Copies bytes as they are with non-temporal stores, between blocks that do not overlap: the
   * fastest single-thread copy of large blocks. Allocates nothing.
   */
  public static void copyStreaming(long target, long source, long bytes) {
    NativeLibrary.ensureLoaded();
    Capi.check(normcore.nc_copy(target, source, bytes));
  }

  /**
   * Returns zeroed memory for a C structure. Not a JavaCPP allocation: JavaCPP refuses to allocate
   * in a process whose native memory is large relative to its Java heap.
   */
  static ByteBuffer structure(Class<? extends Pointer> type) {
    NativeLibrary.ensureLoaded();
    return ByteBuffer.allocateDirect(Loader.sizeof(type)).order(ByteOrder.nativeOrder());
  }

  /** Returns a pointer to memory that it does not own. */
  static Pointer pointer(long address, long capacity) {
    return new Block(address, capacity);
  }

  private record Hold(Object object) implements Runnable {
    @Override
    public void run() {}
  }

  /** A pointer to memory that it does not own. */
  private static final class Block extends Pointer {
    Block(long address, long bytes) {
      this.address = address;
      this.limit = bytes;
      this.capacity = bytes;
    }

    @Override
    public int sizeof() {
      return 1;
    }
  }
}
