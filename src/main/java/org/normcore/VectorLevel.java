package org.normcore;

import org.normcore.internal.Capi;
import org.normcore.internal.Codes;

/**
 * A vector instruction set that the CPU kernels are compiled for. All levels give the same bits;
 * choose one only for tests and comparisons.
 */
public enum VectorLevel {
  /** The best level of this machine. */
  BEST,
  /** Plain C++ without vector intrinsics. Available everywhere. */
  PLAIN,
  /** x86-64 with AVX2, FMA and F16C. */
  AVX2,
  /** x86-64 with AVX-512. */
  AVX512,
  /** AArch64 with NEON. */
  NEON;

  /**
   * Returns whether this build and this machine support the level. {@link #BEST} and {@link #PLAIN}
   * are always supported.
   *
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public boolean isSupported() {
    return Capi.cpuLevelSupported(Codes.of(this));
  }

  /**
   * Returns the level that {@link #BEST} stands for on this machine.
   *
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static VectorLevel best() {
    int best = Capi.cpuBestLevel();
    for (VectorLevel level : values()) {
      if (Codes.of(level) == best) {
        return level;
      }
    }
    throw new AssertionError("level " + best);
  }
}
