package org.normcore.cli.safetensors;

import com.google.common.collect.ImmutableMap;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * One safetensors file. Opening it reads and checks the header; each tensor is mapped separately on
 * demand, so a file may be larger than one mapping.
 */
public final class SafetensorsFile implements TensorSource {
  private final Path file;
  private final FileChannel channel;
  private final SafetensorsHeader header;

  private SafetensorsFile(Path file, FileChannel channel, SafetensorsHeader header) {
    this.file = file;
    this.channel = channel;
    this.header = header;
  }

  /**
   * Opens a file and checks its header.
   *
   * @throws SafetensorsException if the file is not a valid safetensors file
   */
  public static SafetensorsFile open(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      throw new SafetensorsException(file, "is a directory, not a safetensors file");
    }
    FileChannel channel;
    try {
      channel = FileChannel.open(file, StandardOpenOption.READ);
    } catch (NoSuchFileException e) {
      throw new SafetensorsException(file, "does not exist");
    }
    try {
      return new SafetensorsFile(file, channel, SafetensorsHeader.read(file, channel));
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  @Override
  public ImmutableMap<String, TensorEntry> entries() {
    return header.entries();
  }

  /** The file's free-form metadata. */
  public ImmutableMap<String, String> metadata() {
    return header.metadata();
  }

  @Override
  public TensorView view(String name) throws IOException {
    TensorEntry entry = entry(name);
    DType dtype =
        entry
            .type()
            .dtype()
            .orElseThrow(
                () ->
                    new SafetensorsException(
                        file,
                        "tensor \""
                            + Quoted.shorten(name)
                            + "\" is "
                            + entry.type()
                            + ", not a floating-point type"));
    return TensorBytes.view(file, channel, entry, dtype);
  }

  /**
   * The elements of an integer tensor, I64 or I32.
   *
   * @throws SafetensorsException if the tensor does not exist, has another type, or has more
   *     elements than an array can hold
   */
  public long[] integers(String name) throws IOException {
    TensorEntry entry = entry(name);
    boolean wide = entry.type() == StoredType.I64;
    if (!wide && entry.type() != StoredType.I32) {
      throw new SafetensorsException(
          file,
          "tensor \"" + Quoted.shorten(name) + "\" is " + entry.type() + ", expected I64 or I32");
    }
    if (entry.bytes() > Integer.MAX_VALUE - 8) {
      throw new SafetensorsException(
          file, "tensor \"" + Quoted.shorten(name) + "\" has too many elements for an array");
    }
    ByteBuffer bytes = ByteBuffer.allocate((int) entry.bytes()).order(ByteOrder.LITTLE_ENDIAN);
    while (bytes.hasRemaining()) {
      if (channel.read(bytes, entry.begin() + bytes.position()) < 0) {
        throw new SafetensorsException(file, "became shorter while it was read");
      }
    }
    bytes.flip();
    long[] all = new long[Math.toIntExact(entry.elements())];
    for (int i = 0; i < all.length; i++) {
      all[i] = wide ? bytes.getLong() : bytes.getInt();
    }
    return all;
  }

  private TensorEntry entry(String name) throws SafetensorsException {
    TensorEntry entry = header.entries().get(name);
    if (entry == null) {
      throw new SafetensorsException(file, "has no tensor \"" + Quoted.shorten(name) + "\"");
    }
    return entry;
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
