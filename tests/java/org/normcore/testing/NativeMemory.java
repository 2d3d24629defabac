package org.normcore.testing;

import org.normcore.internal.Capi;

/** The host memory that the library has allocated. */
public final class NativeMemory {
  private NativeMemory() {}

  /**
   * Waits until the memory of earlier tests is freed, so that afterwards only the test itself
   * changes the number.
   */
  public static void settle() throws InterruptedException {
    long last = -1;
    for (int unchanged = 0; unchanged < 3; ) {
      System.gc();
      Thread.sleep(20);
      long now = Capi.allocatedBytes();
      unchanged = now == last ? unchanged + 1 : 0;
      last = now;
    }
  }
}
