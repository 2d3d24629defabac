package org.normcore.bench;

import com.google.gson.FieldNamingPolicy;
import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.TypeAdapter;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonWriter;
import java.io.IOException;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import org.normcore.DType;
import org.normcore.NormKind;

/** A run as one JSON document, with one measured object per line. */
final class JsonReport {
  private static final Gson GSON =
      new GsonBuilder()
          .disableHtmlEscaping()
          .setFieldNamingPolicy(FieldNamingPolicy.LOWER_CASE_WITH_UNDERSCORES)
          .registerTypeAdapter(DType.class, text(Names::of, text -> Names.parse(DType.class, text)))
          .registerTypeAdapter(
              NormKind.class, text(Names::of, text -> Names.parse(NormKind.class, text)))
          .registerTypeAdapter(
              Direction.class, text(Names::of, text -> Names.parse(Direction.class, text)))
          .registerTypeAdapter(Shape.class, text(Shape::toString, Shape::parse))
          .registerTypeAdapter(double.class, new Figure())
          .registerTypeAdapter(Double.class, new Figure().nullSafe())
          .create();

  private JsonReport() {}

  static String text(Run run) {
    JsonObject root = GSON.toJsonTree(run).getAsJsonObject();
    return root.entrySet().stream()
        .map(member -> GSON.toJson(member.getKey()) + ": " + text(member.getValue()))
        .collect(Collectors.joining(",\n", "{\n", "\n}\n"));
  }

  private static String text(JsonElement value) {
    return value instanceof JsonArray array
        ? StreamSupport.stream(array.spliterator(), false)
            .map(GSON::toJson)
            .collect(Collectors.joining(",\n", "[\n", "\n]"))
        : GSON.toJson(value);
  }

  /** Reads what {@link #text(Run)} wrote. */
  static Run read(String text) {
    return GSON.fromJson(text, Run.class);
  }

  private static <T> TypeAdapter<T> text(Function<T, String> print, Function<String, T> parse) {
    return new TypeAdapter<T>() {
      @Override
      public void write(JsonWriter out, T value) throws IOException {
        out.value(print.apply(value));
      }

      @Override
      public T read(JsonReader in) throws IOException {
        return parse.apply(in.nextString());
      }
    };
  }

  /** Writes integral numbers without a fraction. */
  private static final class Figure extends TypeAdapter<Double> {
    @Override
    public void write(JsonWriter out, Double value) throws IOException {
      if (value == value.longValue()) {
        out.value(value.longValue());
      } else {
        out.value(value);
      }
    }

    @Override
    public Double read(JsonReader in) throws IOException {
      return in.nextDouble();
    }
  }
}
