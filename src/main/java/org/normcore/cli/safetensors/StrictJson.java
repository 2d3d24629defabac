package org.normcore.cli.safetensors;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import java.io.EOFException;
import java.io.IOException;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Strict JSON: UTF-8, no duplicate keys in an object, nothing after the document. */
public final class StrictJson {
  private static final int DEEPEST = 64;

  private StrictJson() {}

  /** Reads the object in a file of at most {@code largest} bytes. */
  public static JsonObject readObject(Path file, long largest) throws IOException {
    long size = Files.size(file);
    if (size > largest) {
      throw new SafetensorsException(
          file, "is " + size + " bytes long, more than the limit of " + largest);
    }
    return parseObject(file, ByteBuffer.wrap(Files.readAllBytes(file)), "the file");
  }

  /** Reads the object in these bytes of a file; messages call them {@code what}. */
  static JsonObject parseObject(Path file, ByteBuffer bytes, String what) {
    String text;
    try {
      text = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
    } catch (CharacterCodingException e) {
      throw new SafetensorsException(file, what + " is not UTF-8");
    }
    try (JsonReader reader = new JsonReader(new StringReader(text))) {
      reader.setStrictness(Strictness.STRICT);
      reader.setNestingLimit(DEEPEST);
      if (reader.peek() != JsonToken.BEGIN_OBJECT) {
        throw new SafetensorsException(file, what + " is not a JSON object");
      }
      JsonObject object = (JsonObject) read(file, reader);
      if (reader.peek() != JsonToken.END_DOCUMENT) {
        throw new MalformedJsonException("text after the document");
      }
      return object;
    } catch (MalformedJsonException
        | EOFException
        | IllegalStateException
        | NumberFormatException e) {
      throw new SafetensorsException(file, what + " is not valid JSON");
    } catch (IOException e) {
      throw new IllegalStateException("reading from memory failed", e);
    }
  }

  private static JsonElement read(Path file, JsonReader reader) throws IOException {
    switch (reader.peek()) {
      case BEGIN_OBJECT -> {
        JsonObject object = new JsonObject();
        reader.beginObject();
        while (reader.hasNext()) {
          String key = reader.nextName();
          if (object.has(key)) {
            throw new SafetensorsException(
                file, "has the JSON key \"" + Quoted.shorten(key) + "\" twice");
          }
          object.add(key, read(file, reader));
        }
        reader.endObject();
        return object;
      }
      case BEGIN_ARRAY -> {
        JsonArray array = new JsonArray();
        reader.beginArray();
        while (reader.hasNext()) {
          array.add(read(file, reader));
        }
        reader.endArray();
        return array;
      }
      case STRING -> {
        return new JsonPrimitive(reader.nextString());
      }
      case NUMBER -> {
        return new JsonPrimitive(new BigDecimal(reader.nextString()));
      }
      case BOOLEAN -> {
        return new JsonPrimitive(reader.nextBoolean());
      }
      case NULL -> {
        reader.nextNull();
        return JsonNull.INSTANCE;
      }
      default -> throw new MalformedJsonException("unexpected " + reader.peek());
    }
  }
}
