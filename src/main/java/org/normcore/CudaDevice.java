package org.normcore;

import java.util.Locale;

/**
 * The properties of a CUDA device.
 *
 * @param device the device
 * @param name its name, as the driver gives it
 * @param computeCapability major version times 10 plus minor: 90 is 9.0
 * @param multiprocessors the number of streaming multiprocessors
 * @param memoryBytes the size of its memory
 */
public record CudaDevice(
    Device device, String name, int computeCapability, int multiprocessors, long memoryBytes) {

  /**
   * Returns, for example, {@code NVIDIA H100 (cuda:0, compute capability 9.0, 132 multiprocessors,
   * 79.6 GiB)}.
   */
  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "%s (%s, compute capability %d.%d, %d multiprocessors, %.1f GiB)",
        name,
        device,
        computeCapability / 10,
        computeCapability % 10,
        multiprocessors,
        memoryBytes / (double) (1L << 30));
  }
}
