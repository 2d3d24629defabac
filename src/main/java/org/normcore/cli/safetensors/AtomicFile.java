package org.normcore.cli.safetensors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;

/**
 * A file that gets its name only after it is completely written; a failure before that leaves no
 * file.
 */
public final class AtomicFile {
  /** Writes a file's content. */
  @FunctionalInterface
  public interface Content {
    /** Writes everything to the channel. */
    void writeTo(FileChannel channel) throws IOException;
  }

  private AtomicFile() {}

  /**
   * Checks that a file of that name can be written.
   *
   * @throws SafetensorsException if its directory does not exist, or if the name belongs to
   *     something other than a regular file
   */
  public static void check(Path file) throws IOException {
    target(file);
  }

  /**
   * Writes the file, replacing a regular file of that name. A symbolic link is kept, and its target
   * is replaced.
   *
   * @throws SafetensorsException as {@link #check} does
   */
  public static void write(Path file, Content content) throws IOException {
    Path absolute = target(file);
    Path parent = absolute.getParent();
    // Not Files.createTempFile: its files are readable by the owner only, and the move keeps the
    // mode.
    Path part =
        parent.resolve(
            "." + absolute.getFileName() + "." + ProcessHandle.current().pid() + ".part");
    try {
      try (FileChannel channel =
          FileChannel.open(
              part,
              StandardOpenOption.CREATE,
              StandardOpenOption.TRUNCATE_EXISTING,
              StandardOpenOption.WRITE)) {
        content.writeTo(channel);
      }
      move(part, absolute);
    } finally {
      Files.deleteIfExists(part);
    }
  }

  /** Writes all of a buffer. */
  public static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
    while (bytes.hasRemaining()) {
      channel.write(bytes);
    }
  }

  private static Path target(Path file) throws IOException {
    Path absolute = file.toAbsolutePath();
    Path parent = absolute.getParent();
    if (parent == null || !Files.isDirectory(parent) || Files.isDirectory(absolute)) {
      throw new SafetensorsException(
          file, "can't be written: it is a directory, or its directory does not exist");
    }
    if (Files.isRegularFile(absolute)) {
      return absolute.toRealPath();
    }
    // A move would replace the device or pipe itself, which other processes may use.
    if (Files.exists(absolute, LinkOption.NOFOLLOW_LINKS)) {
      throw new SafetensorsException(file, "can't be written: it is not a regular file");
    }
    return absolute;
  }

  private static void move(Path part, Path file) throws IOException {
    try {
      Files.move(part, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (AtomicMoveNotSupportedException e) {
      Files.move(part, file, StandardCopyOption.REPLACE_EXISTING);
    }
  }
}
