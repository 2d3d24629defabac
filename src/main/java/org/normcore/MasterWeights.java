package org.normcore;

/**
 * The float32 values of an {@link Fp8Parameter}, for an optimiser to start from, in memory of their
 * own, to be closed by the caller.
 *
 * @param memory the memory, on the parameter's device
 * @param values a view of it, float32 in the parameter's shape
 * @param origin what the values come from
 */
public record MasterWeights(OwnedMemory memory, TensorView values, Origin origin)
    implements AutoCloseable {
  /** What master weights come from. */
  public enum Origin {
    /** The values that the parameter was quantised from, which float32 holds exactly. */
    FROM_INITIAL_VALUE,
    /** The FP8 bits: what was lost in quantising them is missing. */
    FROM_FP8
  }

  /**
   * Frees the memory. Does nothing if that has been done.
   *
   * @throws IllegalStateException if a call is working on the memory
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
   */
  @Override
  public void close() {
    memory.close();
  }
}
