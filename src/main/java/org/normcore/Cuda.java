package org.normcore;

import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CudaCapi;

/**
 * Whether tensors in the memory of an NVIDIA GPU can be worked on, on which ones, and why not.
 *
 * <p>CUDA is available if the CUDA part of the native library is there (the jar with the classifier
 * {@code linux-x86_64-gpu} on the class path, or a {@code libnormcore_cuda.so} where the dynamic
 * linker looks, or the file that the environment variable {@code NORMCORE_CUDA_LIBRARY} names), and
 * so are a driver and a device. The CUDA toolkit is not needed. Both are looked for once, when
 * first asked for. That CUDA is missing is an ordinary answer with a reason; that Normcore's own
 * native library is, is an {@link UnsatisfiedLinkError} from every method here.
 */
public final class Cuda {
  private Cuda() {}

  /** Returns whether operations on CUDA devices can run. */
  public static boolean isAvailable() {
    return CudaCapi.unavailability() == null;
  }

  /**
   * Returns if CUDA is available.
   *
   * @throws UnsupportedOperationException with the reason if it is not
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

  /** Returns what the CUDA devices are, in the order of their indices; none if unavailable. */
  public static List<CudaDevice> devices() {
    return IntStream.range(0, deviceCount()).mapToObj(CudaCapi::device).toList();
  }

  /**
   * Returns what a CUDA device is.
   *
   * @throws IllegalArgumentException if it is not a CUDA device, or there is no such one
   * @throws UnsupportedOperationException with the reason if CUDA is unavailable
   */
  public static CudaDevice device(Device device) {
    requireDevice("device", device);
    return CudaCapi.device(device.index());
  }

  /** Checks that an argument is a CUDA device, whether there is such a one or not. */
  static void requireCuda(String argument, @Nullable Device device) {
    if (device == null || device.isCpu()) {
      throw new IllegalArgumentException(
          argument + ": " + device + "; expected a CUDA device, such as Device.cuda(0)");
    }
  }

  /** Checks that an argument is a CUDA device that there is. */
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
