package org.normcore.bench;

import com.sun.jna.Function;

/**
 * How the C library's allocator treats large blocks. As it comes, each is mapped anew, so that
 * whoever writes a fresh result pays for its page faults; warm, freed blocks are kept and given out
 * again. That works with one arena only: {@code MALLOC_ARENA_MAX=1} in the environment.
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
