package org.normcore;

import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CudaCapi;

/**
 * Tells whether CUDA is available, which devices the machine has, and why CUDA is unavailable.
 *
 * <p>CUDA is available if the machine has a driver and a device, and the library finds its CUDA
 * plugin: the jar with the classifier {@code linux-x86_64-gpu} on the class path, a {@code
 * libnormcore_cuda.so} on the dynamic linker's search path, or the file that the environment
 * variable {@code NORMCORE_CUDA_LIBRARY} names. The CUDA toolkit is not needed. The library
 * searches once, on first use. Missing CUDA is reported as a reason, not as an error. If Normcore's
 * own native library is missing, every method here throws {@link UnsatisfiedLinkError}.
 */
public final class Cuda {
  private Cuda() {}

  /** Returns whether operations on CUDA devices can run. */
  public static boolean isAvailable() {
    return CudaCapi.unavailability() == null;
  }

  /**
   * Returns normally if CUDA is available.
   *
   * @throws UnsupportedOperationException with the reason if it is unavailable
   */
  public static void ensureAvailable() {
    UnsupportedOperationException cause = unavailabilityCause();
    if (cause != null) {
      throw cause;
    }
  }

  /** Returns the reason why CUDA is unavailable; null if it is available. */
  public static @Nullable UnsupportedOperationException unavailabilityCause() {
    String reason = CudaCapi.unavailability();
    return reason == null ? null : new UnsupportedOperationException(reason);
  }

  /** Returns the number of CUDA devices; 0 if CUDA is unavailable. */
  public static int deviceCount() {
    return CudaCapi.deviceCount();
  }

  /** Returns all CUDA devices in index order; an empty list if CUDA is unavailable. */
  public static List<CudaDevice> devices() {
    return IntStream.range(0, deviceCount()).mapToObj(CudaCapi::device).toList();
  }

  /**
   * Describes a CUDA device.
   *
   * @throws IllegalArgumentException if the device is not an existing CUDA device
   * @throws UnsupportedOperationException with the reason if CUDA is unavailable
   */
  public static CudaDevice device(Device device) {
    requireDevice("device", device);
    return CudaCapi.device(device.index());
  }

  /** Checks that an argument is a CUDA device; the device need not exist. */
  static void requireCuda(String argument, @Nullable Device device) {
    if (device == null || device.isCpu()) {
      throw new IllegalArgumentException(
          argument + ": " + device + "; expected a CUDA device, such as Device.cuda(0)");
    }
  }

  /** Checks that an argument is an existing CUDA device. */
  static void requireDevice(String argument, @Nullable Device device) {
    requireCuda(argument, device);
    ensureAvailable();
    int count = deviceCount();
    if (device.index() >= count) {
      throw new IllegalArgumentException(
          argument
              + ": "
              + device
              + "; expected "
              + (count == 1 ? "cuda:0, the only CUDA device" : "cuda:0 to cuda:" + (count - 1))
              + " of this machine");
    }
  }
}
