package org.normcore.internal;

import org.bytedeco.javacpp.Loader;
import org.jspecify.annotations.Nullable;

/** Loads the native library once and keeps the failure, if any. */
final class NativeLibrary {
  private static final @Nullable Throwable FAILURE = load();

  private NativeLibrary() {}

  /** Throws UnsatisfiedLinkError with advice if the library could not be loaded. */
  static void ensureLoaded() {
    if (FAILURE != null) {
      throw failed(FAILURE);
    }
  }

  // Returns the failure instead of throwing it: only the first caller would see the cause of a
  // failed static initialiser.
  private static @Nullable Throwable load() {
    try {
      Loader.load(org.normcore.internal.capi.global.normcore.class);
      org.normcore.internal.capi.global.normcore.nc_version();
      return null;
    } catch (LinkageError | RuntimeException e) {
      return e;
    }
  }

  private static UnsatisfiedLinkError failed(Throwable failure) {
    String platform = platform();
    String version = NativeLibrary.class.getPackage().getImplementationVersion();
    UnsatisfiedLinkError error =
        new UnsatisfiedLinkError(
            "Normcore's native library for "
                + platform
                + " could not be loaded: add org.normcore:normcore-platform:"
                + (version == null ? "<version>" : version)
                + ", or org.normcore:normcore:"
                + (version == null ? "<version>" : version)
                + ":"
                + platform
                + " and org.bytedeco:javacpp:<version>:"
                + platform
                + ", to the class path or, with the module org.normcore.platform, to the module path ("
                + failure
                + ")");
    error.initCause(failure);
    return error;
  }

  private static String platform() {
    try {
      return Loader.getPlatform();
    } catch (LinkageError | RuntimeException e) {
      return "this platform";
    }
  }
}
