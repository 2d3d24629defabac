package org.normcore;

/**
 * The float32 values of an {@link Fp8Parameter} in separate memory, for an optimiser. The caller
 * must close them.
 *
 * @param memory the memory, on the parameter's device
 * @param values a view of it, float32 in the parameter's shape
 * @param origin the source of the values
 */
public record MasterWeights(OwnedMemory memory, TensorView values, Origin origin)
    implements AutoCloseable {
  /** The source of master weights. */
  public enum Origin {
    /** The values that the parameter was quantised from, which float32 holds exactly. */
    FROM_INITIAL_VALUE,
    /** The FP8 bits, which include the quantisation error. */
    FROM_FP8
  }

  /**
   * Frees the memory. A second call does nothing.
   *
   * @throws IllegalStateException if a call uses the memory
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  @Override
  public void close() {
    memory.close();
  }
}
