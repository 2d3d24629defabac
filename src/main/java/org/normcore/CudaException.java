package org.normcore;

import java.io.Serial;

/**
 * An error that the CUDA runtime reports; the message has CUDA's own name and text for it. As work
 * on a device is done after the call that asked for it has returned, the error may be that of
 * earlier work, this library's or not. After some errors, such as an access beyond a device's
 * memory, CUDA refuses all further work of the process.
 */
public final class CudaException extends NormcoreException {
  @Serial private static final long serialVersionUID = 1;

  /** Creates the exception with the native library's sentence. */
  public CudaException(String message) {
    super(message);
  }
}
