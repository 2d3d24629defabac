package org.normcore.cli.safetensors;

import com.google.common.primitives.ImmutableLongArray;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.nio.file.Path;

/**
 * Parses one tensor's JSON and checks its size, shape and byte range against each other and the
 * file.
 */
final class TensorEntryParser {
  private final Path file;
  private final String name;
  private final long dataBegin;
  private final long fileSize;

  TensorEntryParser(Path file, String name, long dataBegin, long fileSize) {
    this.file = file;
    this.name = name;
    this.dataBegin = dataBegin;
    this.fileSize = fileSize;
  }

  TensorEntry parse(JsonElement element) {
    if (!element.isJsonObject()) {
      throw fault("is not a JSON object");
    }
    JsonObject object = element.getAsJsonObject();
    for (String key : object.keySet()) {
      if (!key.equals("dtype") && !key.equals("shape") && !key.equals("data_offsets")) {
        throw fault("has the unknown key \"" + Quoted.shorten(key) + "\"");
      }
    }
    StoredType type = type(object.get("dtype"));
    ImmutableLongArray shape = naturals(object.get("shape"), "shape");
    ImmutableLongArray offsets = naturals(object.get("data_offsets"), "data_offsets");
    if (offsets.length() != 2) {
      throw fault("has " + offsets.length() + " data_offsets instead of 2");
    }
    long begin = offsets.get(0);
    long end = offsets.get(1);
    if (begin > end) {
      throw fault("begins at byte " + begin + ", after its end at byte " + end);
    }
    if (end > fileSize - dataBegin) {
      throw fault("ends at byte " + end + " of the data, which has only " + (fileSize - dataBegin));
    }
    long bytes = bytes(type, shape);
    if (bytes != end - begin) {
      throw fault("has " + (end - begin) + " bytes, but " + type + " " + shape + " needs " + bytes);
    }
    return new TensorEntry(name, type, shape, dataBegin + begin, dataBegin + end);
  }

  private StoredType type(JsonElement element) {
    if (element == null || !element.isJsonPrimitive() || !element.getAsJsonPrimitive().isString()) {
      throw fault("has no dtype that is a string");
    }
    String text = element.getAsString();
    return StoredType.find(text)
        .orElseThrow(() -> fault("has the unknown dtype \"" + Quoted.shorten(text) + "\""));
  }

  private ImmutableLongArray naturals(JsonElement element, String what) {
    if (element == null || !element.isJsonArray()) {
      throw fault("has no " + what + " that is a list");
    }
    JsonArray array = element.getAsJsonArray();
    ImmutableLongArray.Builder values = ImmutableLongArray.builder(array.size());
    for (JsonElement value : array) {
      values.add(natural(value, what));
    }
    return values.build();
  }

  private long natural(JsonElement value, String what) {
    if (value.isJsonPrimitive() && value.getAsJsonPrimitive().isNumber()) {
      String text = value.getAsString();
      if (text.matches("[0-9]{1,19}")) {
        try {
          return Long.parseLong(text);
        } catch (NumberFormatException e) {
          throw fault("has the " + what + " value " + text + ", which is too large");
        }
      }
    }
    throw fault(
        "has the "
            + what
            + " value "
            + Quoted.shorten(value.toString())
            + ", which is not a whole number from 0 to 2^63");
  }

  private long bytes(StoredType type, ImmutableLongArray shape) {
    if (shape.contains(0)) {
      return 0;
    }
    try {
      long bytes = type.bytes();
      for (int i = 0; i < shape.length(); i++) {
        bytes = Math.multiplyExact(bytes, shape.get(i));
      }
      return bytes;
    } catch (ArithmeticException e) {
      throw fault("has a shape of more than 2^63 bytes");
    }
  }

  private SafetensorsException fault(String fault) {
    return new SafetensorsException(file, "tensor \"" + Quoted.shorten(name) + "\" " + fault);
  }
}
