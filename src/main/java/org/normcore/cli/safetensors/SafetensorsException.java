package org.normcore.cli.safetensors;

import java.nio.file.Path;

/**
 * A file that isn't what it should be. The message is one sentence that names the file and the
 * fault.
 */
public final class SafetensorsException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** A fault of the given file. */
  public SafetensorsException(Path file, String fault) {
    super(file + ": " + fault);
  }
}
