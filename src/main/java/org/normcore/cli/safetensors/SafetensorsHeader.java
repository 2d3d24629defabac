package org.normcore.cli.safetensors;

import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;

/**
 * A file's header, checked against the file: every byte of the data belongs to exactly one tensor.
 */
record SafetensorsHeader(
    ImmutableMap<String, TensorEntry> entries, ImmutableMap<String, String> metadata) {
  static final long LARGEST = 100_000_000;
  private static final int LENGTH_BYTES = 8;
  private static final String METADATA = "__metadata__";

  static SafetensorsHeader read(Path file, FileChannel channel) throws IOException {
    long size = channel.size();
    if (size < LENGTH_BYTES) {
      throw new SafetensorsException(
          file,
          "is "
              + size
              + " bytes long, too short for a safetensors file, which starts with 8 bytes of length");
    }
    long length = readFully(channel, 0, LENGTH_BYTES).order(ByteOrder.LITTLE_ENDIAN).getLong();
    if (length < 0 || length > LARGEST) {
      throw new SafetensorsException(
          file,
          "claims a header of "
              + Long.toUnsignedString(length)
              + " bytes, more than the "
              + LARGEST
              + " allowed");
    }
    if (length > size - LENGTH_BYTES) {
      throw new SafetensorsException(
          file, "claims a header of " + length + " bytes, but is only " + size + " bytes long");
    }
    JsonObject json =
        StrictJson.parseObject(file, readFully(channel, LENGTH_BYTES, (int) length), "its header");
    long dataBegin = LENGTH_BYTES + length;

    ImmutableMap.Builder<String, TensorEntry> entries = ImmutableMap.builder();
    ImmutableMap<String, String> metadata = ImmutableMap.of();
    for (Map.Entry<String, JsonElement> member : json.entrySet()) {
      if (member.getKey().equals(METADATA)) {
        metadata = metadata(file, member.getValue());
      } else {
        TensorEntryParser parser = new TensorEntryParser(file, member.getKey(), dataBegin, size);
        entries.put(member.getKey(), parser.parse(member.getValue()));
      }
    }
    SafetensorsHeader header = new SafetensorsHeader(entries.buildOrThrow(), metadata);
    header.checkCoverage(file, dataBegin, size);
    return header;
  }

  private static ByteBuffer readFully(FileChannel channel, long position, int bytes)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer, position + buffer.position()) < 0) {
        throw new EOFException("the file became shorter while it was read");
      }
    }
    return buffer.flip();
  }

  private static ImmutableMap<String, String> metadata(Path file, JsonElement element) {
    if (!element.isJsonObject()) {
      throw new SafetensorsException(file, "has a " + METADATA + " that is not a JSON object");
    }
    ImmutableMap.Builder<String, String> metadata = ImmutableMap.builder();
    for (Map.Entry<String, JsonElement> member : element.getAsJsonObject().entrySet()) {
      JsonElement value = member.getValue();
      if (!value.isJsonPrimitive() || !value.getAsJsonPrimitive().isString()) {
        throw new SafetensorsException(
            file,
            "has a "
                + METADATA
                + " whose \""
                + Quoted.shorten(member.getKey())
                + "\" is not a string");
      }
      metadata.put(member.getKey(), value.getAsString());
    }
    return metadata.buildOrThrow();
  }

  private void checkCoverage(Path file, long dataBegin, long size) {
    List<TensorEntry> sorted = new ArrayList<>(entries.values());
    sorted.sort(Comparator.comparingLong(TensorEntry::begin).thenComparingLong(TensorEntry::end));
    long covered = dataBegin;
    String before = "the header";
    for (TensorEntry entry : sorted) {
      String name = "tensor \"" + Quoted.shorten(entry.name()) + "\"";
      if (entry.begin() < covered) {
        throw new SafetensorsException(file, "has a " + name + " that overlaps " + before);
      }
      if (entry.begin() > covered) {
        throw new SafetensorsException(
            file,
            "has a hole of "
                + (entry.begin() - covered)
                + " bytes between "
                + before
                + " and "
                + name);
      }
      covered = entry.end();
      before = name;
    }
    if (covered != size) {
      throw new SafetensorsException(
          file, "has " + (size - covered) + " bytes after " + before + " that belong to no tensor");
    }
  }
}
