package org.normcore.cli;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonPrimitive;

/** The format of JSON documents. */
public final class Json {
  private static final Gson GSON =
      new GsonBuilder().setPrettyPrinting().serializeNulls().disableHtmlEscaping().create();

  private Json() {}

  /** A number, or null if JSON cannot represent it. */
  public static JsonElement number(double value) {
    return Double.isFinite(value) ? new JsonPrimitive(value) : JsonNull.INSTANCE;
  }

  /** A float32 number, with the digits of that type only. */
  public static JsonElement number(float value) {
    return Float.isFinite(value) ? new JsonPrimitive(value) : JsonNull.INSTANCE;
  }

  /** Whole numbers. */
  public static JsonArray array(long... values) {
    JsonArray array = new JsonArray();
    for (long value : values) {
      array.add(value);
    }
    return array;
  }

  /** A document as indented text. */
  public static String toText(JsonElement document) {
    return GSON.toJson(document);
  }
}
