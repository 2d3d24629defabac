package org.normcore;

import java.io.Serial;

/**
 * An error reported by the CUDA runtime; the message contains CUDA's name and text for it. Work on
 * a device runs asynchronously, so the error may come from an earlier call, of this library or
 * another. After some errors, such as an access outside device memory, CUDA refuses all further
 * work of the process.
 */
public final class CudaException extends NormcoreException {
  @Serial private static final long serialVersionUID = 1;

  /** Creates the exception with the native library's message. */
  public CudaException(String message) {
    super(message);
  }
}
