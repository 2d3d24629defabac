package org.normcore.cli.safetensors;

import java.nio.file.Path;

/** An invalid file. The message is one sentence that names the file and the fault. */
public final class SafetensorsException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Makes the exception for a fault of a file. */
  public SafetensorsException(Path file, String fault) {
    super(file + ": " + fault);
  }
}
