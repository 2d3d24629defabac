package org.normcore.internal;

import org.bytedeco.javacpp.BytePointer;
import org.normcore.CudaException;
import org.normcore.NormcoreException;
import org.normcore.internal.capi.global.normcore;

/**
 * The C interface with statuses turned into exceptions. {@code normcore.h} documents each call.
 *
 * <p>{@link NativeCall} has the calls of plans; they return the status.
 */
public final class Capi {
  /** The largest hidden size. */
  public static final long MAX_HIDDEN_SIZE = normcore.NC_MAX_HIDDEN_SIZE;

  /** The status of a successful call. */
  public static final int OK = normcore.NC_OK;

  private Capi() {}

  /** Returns MAJOR * 10000 + MINOR * 100 + PATCH. */
  public static int version() {
    NativeLibrary.ensureLoaded();
    return normcore.nc_version();
  }

  /** Returns the vector level that BEST selects on this machine. */
  public static int cpuBestLevel() {
    NativeLibrary.ensureLoaded();
    return normcore.nc_cpu_best_level();
  }

  /** Returns whether this build and this machine support the level. */
  public static boolean cpuLevelSupported(int level) {
    NativeLibrary.ensureLoaded();
    int[] supported = new int[1];
    check(normcore.nc_cpu_level_supported(level, supported));
    return supported[0] != 0;
  }

  /** Returns the number of row groups of a backward. */
  public static long backwardGroups(long plan, long rows) {
    return backwardGroups(plan, rows, new long[1]);
  }

  /** Returns the number of row groups of a backward; the native side writes it to the array. */
  static long backwardGroups(long plan, long rows, long[] groups) {
    check(normcore.nc_norm_backward_groups(plan, rows, groups));
    return groups[0];
  }

  /** Returns the bytes of workspace of a backward. */
  public static long backwardWorkspace(
      long plan, long rows, boolean wantsWeight, boolean wantsBias) {
    return backwardWorkspace(plan, rows, wantsWeight, wantsBias, new long[1]);
  }

  /** Returns the bytes of workspace of a backward; the native side writes them to the array. */
  static long backwardWorkspace(
      long plan, long rows, boolean wantsWeight, boolean wantsBias, long[] bytes) {
    check(
        normcore.nc_norm_backward_workspace(
            plan, rows, wantsWeight ? 1 : 0, wantsBias ? 1 : 0, bytes));
    return bytes[0];
  }

  /** Converts contiguous elements. */
  public static void convert(long source, int sourceType, long target, int targetType, long count) {
    NativeLibrary.ensureLoaded();
    check(normcore.nc_convert(source, sourceType, target, targetType, count));
  }

  /** Returns the address of new memory. */
  public static long allocate(long bytes) {
    NativeLibrary.ensureLoaded();
    long[] address = new long[1];
    check(normcore.nc_allocate(bytes, address));
    return address[0];
  }

  /** Frees memory. */
  public static void free(long address) {
    check(normcore.nc_free(address));
  }

  /** Returns the bytes of host memory currently allocated, including page-locked memory. */
  public static long allocatedBytes() {
    NativeLibrary.ensureLoaded();
    return normcore.nc_allocated_bytes();
  }

  /** Throws the exception of a status, if any, with the calling thread's message. */
  public static void check(int status) {
    if (status != normcore.NC_OK) {
      throw failure(status, lastError());
    }
  }

  /** Returns the calling thread's last message. */
  public static String lastError() {
    BytePointer message = normcore.nc_last_error();
    return message == null ? "" : message.getString();
  }

  /** Throws the exception of a status, if any, with the given message. */
  public static void fail(int status, String message) {
    throw failure(status, message);
  }

  /**
   * Returns the message with the argument names of the Java interface. Only these arguments are
   * checked by the native side and have another name in C.
   */
  private static String inJavaNames(String message) {
    return message
        .replace("residual_out", "residualOut")
        .replace("y_scale_inv", "yScaleInv")
        .replace("y_scale", "yScale")
        .replace("y_amax", "yAmax");
  }

  private static RuntimeException failure(int status, String message) {
    return switch (status) {
      case normcore.NC_INVALID_ARGUMENT -> new IllegalArgumentException(inJavaNames(message));
      case normcore.NC_UNSUPPORTED -> new UnsupportedOperationException(message);
      case normcore.NC_OUT_OF_MEMORY -> throw new OutOfMemoryError(message);
      case normcore.NC_CUDA_ERROR -> new CudaException(message);
      default -> new NormcoreException("status " + status + ": " + message);
    };
  }
}
