package org.normcore.internal.capi;

import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.annotation.Properties;

/** Calls C functions by their addresses. */
@Properties(inherit = org.normcore.presets.normcore.class)
public final class DLPackCalls {
  static {
    Loader.load();
  }

  private DLPackCalls() {}

  /**
   * Calls the function {@code void (*)(void*)} at an address; NC_CALL is defined by the presets.
   */
  public static native void NC_CALL(long function, long argument);
}
