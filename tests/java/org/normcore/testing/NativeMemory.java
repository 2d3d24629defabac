package org.normcore.testing;

import org.normcore.internal.Capi;

/** The host memory that the library has given out. */
public final class NativeMemory {
  private NativeMemory() {}

  /**
   * Waits until what earlier tests have left behind is freed, so that from then on only the test
   * itself changes the number.
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
