package org.normcore.bench;

import com.sun.jna.Function;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import java.util.ArrayList;
import java.util.List;

/**
 * The treatment of large blocks by the C library's allocator. By default it maps each block anew,
 * so a library that allocates its results pays for page faults; warm, it keeps and reuses freed
 * blocks. That requires a single arena: {@code MALLOC_ARENA_MAX=1} in the environment.
 */
final class Malloc {
  private static final int TRIM_THRESHOLD = -1;
  private static final int MMAP_THRESHOLD = -3;
  private static final int MMAP_MAX = -4;
  private static final int USUAL_THRESHOLD = 128 << 10;
  private static final int USUAL_MMAP_MAX = 65536;

  private Malloc() {}

  static boolean hasOneArena() {
    return "1".equals(System.getenv("MALLOC_ARENA_MAX"));
  }

  static void keepFreed() {
    set(MMAP_MAX, 0);
    set(TRIM_THRESHOLD, Integer.MAX_VALUE);
  }

  /** Blocks that fill the holes in the heap left by the warm setting. */
  static final class Plugs implements AutoCloseable {
    private final List<Long> blocks = new ArrayList<>();

    private Plugs(long bytes) {
      for (long size = bytes; size > USUAL_THRESHOLD; size /= 2) {
        long block;
        do {
          block = Native.malloc(size);
          blocks.add(block);
        } while (!isMapped(block));
      }
    }

    /** Reads the second bit of the size field before the block. */
    private static boolean isMapped(long block) {
      return (new Pointer(block - Long.BYTES).getLong(0) & 2) != 0;
    }

    @Override
    public void close() {
      blocks.forEach(Native::free);
    }
  }

  /**
   * Restores the default, and keeps blocks of up to this many bytes out of the heap until the end.
   */
  static Plugs asUsual(long bytes) {
    asUsual();
    return new Plugs(bytes);
  }

  static void asUsual() {
    set(MMAP_MAX, USUAL_MMAP_MAX);
    set(MMAP_THRESHOLD, USUAL_THRESHOLD);
    set(TRIM_THRESHOLD, USUAL_THRESHOLD);
  }

  private static void set(int parameter, int value) {
    int done = Function.getFunction("c", "mallopt").invokeInt(new Object[] {parameter, value});
    if (done != 1) {
      throw new IllegalStateException("mallopt(" + parameter + ", " + value + ") was refused");
    }
  }
}
