package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.ModelType;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.StrictJson;

/**
 * The norm parameters of a model's {@code config.json}. Multimodal models keep them in a
 * text_config.
 */
final class ModelConfig {
  /** The file's name. */
  static final String FILE = "config.json";

  private static final long LARGEST = 16_000_000;
  private static final double USUAL_EPSILON = 1e-5;
  private static final ImmutableList<String> USUAL_EPSILON_KEYS =
      ImmutableList.of(
          "rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "norm_epsilon");

  private final Path file;
  private final ImmutableList<JsonObject> parts;

  private ModelConfig(Path file, ImmutableList<JsonObject> parts) {
    this.file = file;
    this.parts = parts;
  }

  static ModelConfig read(Path directory) throws IOException {
    Path file = directory.resolve(FILE);
    if (!Files.exists(file)) {
      throw new BadInput(directory + ": has no config.json, which describes the model's norms");
    }
    JsonObject json = StrictJson.readObject(file, LARGEST);
    ImmutableList.Builder<JsonObject> parts = ImmutableList.<JsonObject>builder().add(json);
    if (json.get("text_config") != null && json.get("text_config").isJsonObject()) {
      parts.add(json.getAsJsonObject("text_config"));
    }
    return new ModelConfig(file, parts.build());
  }

  /** The configuration of a model without config.json: empty. */
  static ModelConfig none(Path directory) {
    return new ModelConfig(directory.resolve(FILE), ImmutableList.of());
  }

  /** The model family's name. */
  Optional<String> modelType() {
    return text("model_type");
  }

  /** The facts about the family. */
  Optional<ModelType> family() {
    for (JsonObject part : parts) {
      Optional<ModelType> family = text(part, "model_type").flatMap(ModelType::find);
      if (family.isPresent()) {
        return family;
      }
    }
    return Optional.empty();
  }

  /** The computation type of the model. */
  Optional<DType> dtype() {
    return text("dtype").or(() -> text("torch_dtype")).flatMap(ModelConfig::dtypeOf);
  }

  private static Optional<DType> dtypeOf(String name) {
    return switch (name) {
      case "float64" -> Optional.of(DType.FLOAT64);
      case "float32" -> Optional.of(DType.FLOAT32);
      case "bfloat16" -> Optional.of(DType.BFLOAT16);
      case "float16" -> Optional.of(DType.FLOAT16);
      default -> Optional.empty();
    };
  }

  /** Epsilon: the first of the family's keys that is present, else the family's default. */
  double epsilon() {
    List<String> keys = family().map(ModelType::epsilonKeys).orElse(USUAL_EPSILON_KEYS);
    for (String key : keys) {
      for (JsonObject part : parts) {
        JsonElement value = part.get(key);
        if (value != null) {
          return epsilon(key, value);
        }
      }
    }
    return family().map(ModelType::defaultEpsilon).orElse(USUAL_EPSILON);
  }

  private double epsilon(String key, JsonElement value) {
    if (value instanceof JsonPrimitive primitive && primitive.isNumber()) {
      double epsilon = primitive.getAsDouble();
      if (epsilon >= 0 && epsilon < Double.POSITIVE_INFINITY) {
        return epsilon;
      }
    }
    throw new BadInput(
        file + ": has the " + key + " " + value + ", expected a finite number of at least 0");
  }

  private Optional<String> text(String key) {
    return parts.stream().map(part -> text(part, key)).flatMap(Optional::stream).findFirst();
  }

  private static Optional<String> text(JsonObject part, String key) {
    return part.get(key) instanceof JsonPrimitive primitive && primitive.isString()
        ? Optional.of(primitive.getAsString())
        : Optional.empty();
  }
}
