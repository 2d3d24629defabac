package org.normcore;

import org.normcore.internal.Capi;

/** The library as a whole. */
public final class Normcore {
  private Normcore() {}

  /**
   * Returns the version of the native library, for example {@code 0.1.0}.
   *
   * @throws UnsatisfiedLinkError if the native library can't be loaded; the message says what to do
   */
  public static String version() {
    int version = Capi.version();
    return version / 10000 + "." + version / 100 % 100 + "." + version % 100;
  }
}
