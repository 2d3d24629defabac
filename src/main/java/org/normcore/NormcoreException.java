package org.normcore;

import java.io.Serial;

/**
 * An internal error of the native library, or an error reported by CUDA. Wrong arguments throw
 * {@link IllegalArgumentException}; features that this build or machine lacks throw {@link
 * UnsupportedOperationException}.
 */
public sealed class NormcoreException extends RuntimeException permits CudaException {
  @Serial private static final long serialVersionUID = 1;

  /** Creates the exception with the native library's message. */
  public NormcoreException(String message) {
    super(message);
  }
}
