package org.normcore.cli.safetensors;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import org.normcore.TensorView;
import org.normcore.internal.Memory;

/** Writes safetensors files, atomically. */
public final class SafetensorsWriter {
  private static final int HEADER_ALIGNMENT = 8;
  private static final long LARGEST_PIECE = 1 << 26;

  private SafetensorsWriter() {}

  /** Writes contiguous tensors in the map's order and replaces a file of the same name. */
  public static void write(Path file, Map<String, TensorView> tensors) throws IOException {
    byte[] header = header(tensors);
    AtomicFile.write(
        file,
        channel -> {
          ByteBuffer length =
              ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).flip();
          AtomicFile.writeFully(channel, length);
          AtomicFile.writeFully(channel, ByteBuffer.wrap(header));
          for (TensorView tensor : tensors.values()) {
            writeData(channel, tensor);
          }
        });
  }

  private static byte[] header(Map<String, TensorView> tensors) {
    JsonObject header = new JsonObject();
    long offset = 0;
    for (Map.Entry<String, TensorView> member : tensors.entrySet()) {
      TensorView tensor = member.getValue();
      JsonObject entry = new JsonObject();
      entry.addProperty("dtype", tensor.dtype().safetensorsName());
      JsonArray shape = new JsonArray();
      for (long size : tensor.shape()) {
        shape.add(size);
      }
      entry.add("shape", shape);
      JsonArray offsets = new JsonArray();
      offsets.add(offset);
      offset += tensor.elements() * tensor.dtype().bytes();
      offsets.add(offset);
      entry.add("data_offsets", offsets);
      header.add(member.getKey(), entry);
    }
    StringBuilder text = new StringBuilder(header.toString());
    // Names may contain any character, so the padding is in bytes, not in characters.
    int bytes = text.toString().getBytes(StandardCharsets.UTF_8).length;
    text.append(" ".repeat(Math.floorMod(-bytes, HEADER_ALIGNMENT)));
    return text.toString().getBytes(StandardCharsets.UTF_8);
  }

  private static void writeData(FileChannel channel, TensorView tensor) throws IOException {
    long bytes = tensor.elements() * tensor.dtype().bytes();
    for (long done = 0; done < bytes; ) {
      int piece = (int) Math.min(bytes - done, LARGEST_PIECE);
      AtomicFile.writeFully(channel, Memory.byteBuffer(tensor.address() + done, piece));
      done += piece;
    }
  }
}
