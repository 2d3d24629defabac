package org.normcore.cli;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.normcore.TensorView;

/** A builder of safetensors files with tensors of any type. */
final class RawTensors {
  private final JsonObject header = new JsonObject();
  private final ByteArrayOutputStream data = new ByteArrayOutputStream();

  RawTensors add(String name, String type, byte[] bytes, long... shape) {
    JsonObject entry = new JsonObject();
    entry.addProperty("dtype", type);
    JsonArray sizes = new JsonArray();
    for (long size : shape) {
      sizes.add(size);
    }
    entry.add("shape", sizes);
    JsonArray offsets = new JsonArray();
    offsets.add(data.size());
    data.writeBytes(bytes);
    offsets.add(data.size());
    entry.add("data_offsets", offsets);
    header.add(name, entry);
    return this;
  }

  RawTensors add(String name, TensorView view) {
    return add(name, view.dtype().safetensorsName(), view.toBytes(), view.shape());
  }

  /** Adds 64-bit integers. */
  RawTensors integers(String name, long[] values, long... shape) {
    ByteBuffer bytes = ByteBuffer.allocate(8 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (long value : values) {
      bytes.putLong(value);
    }
    return add(name, "I64", bytes.array(), shape);
  }

  /** Adds 32-bit integers. */
  RawTensors shortIntegers(String name, long[] values, long... shape) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (long value : values) {
      bytes.putInt((int) value);
    }
    return add(name, "I32", bytes.array(), shape);
  }

  Path write(Path file) throws IOException {
    byte[] text = header.toString().getBytes(StandardCharsets.UTF_8);
    ByteBuffer all =
        ByteBuffer.allocate(8 + text.length + data.size()).order(ByteOrder.LITTLE_ENDIAN);
    all.putLong(text.length).put(text).put(data.toByteArray());
    Files.write(file, all.array());
    return file;
  }
}
