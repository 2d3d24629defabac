package org.normcore;

import java.io.Serial;

/**
 * A failure that is not the caller's: the native library reported an internal error, or CUDA did.
 * Wrong arguments are {@link IllegalArgumentException}, what this build or machine can't do is
 * {@link UnsupportedOperationException}.
 */
public sealed class NormcoreException extends RuntimeException permits CudaException {
  @Serial private static final long serialVersionUID = 1;

  /** Creates the exception with the native library's sentence. */
  public NormcoreException(String message) {
    super(message);
  }
}
