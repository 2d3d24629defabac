package org.normcore;

/**
 * Whether tensors in the memory of an NVIDIA GPU can be worked on, and why not.
 *
 * <p>This version has the CPU backend only.
 */
public final class Cuda {
  private Cuda() {}

  /** Returns whether operations on CUDA devices can run. Always false in this version. */
  public static boolean isAvailable() {
    return false;
  }

  /**
   * Returns if CUDA is available.
   *
   * @throws UnsupportedOperationException with the reason if it is not
   */
  public static void ensureAvailable() {
    throw unavailabilityCause();
  }

  /** Returns the reason why CUDA is unavailable. */
  public static UnsupportedOperationException unavailabilityCause() {
    return new UnsupportedOperationException(
        "CUDA: this version of Normcore has the CPU backend only; copy the tensors to host memory");
  }
}
