package org.normcore;

import java.io.Serial;

/**
 * A failure inside Normcore that is not the caller's: the native library reported an internal
 * error. Wrong arguments are {@link IllegalArgumentException}, what this build or machine can't do
 * is {@link UnsupportedOperationException}.
 */
public final class NormcoreException extends RuntimeException {
  @Serial private static final long serialVersionUID = 1;

  /** Creates the exception with the native library's sentence. */
  public NormcoreException(String message) {
    super(message);
  }
}
