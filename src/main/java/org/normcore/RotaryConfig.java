package org.normcore;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import java.io.IOException;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * Reads the rotary parameters of a Hugging Face {@code config.json} as transformers does: {@code
 * RotaryEmbeddingConfigMixin} and the configurations of families with their own key names.
 */
final class RotaryConfig {
  private static final String KNOWN_TYPES =
      "default, linear, dynamic, llama3, yarn, longrope, su, proportional or mrope";
  private static final String FULL = "full_attention";
  private static final String SLIDING = "sliding_attention";

  /** The model's section of the document; in a composite model that of its language model. */
  private final Section config;

  private final String family;

  RotaryConfig(String json) {
    Section root = new Section("", parse(json));
    Section text = root.section("text_config");
    this.config = text == null ? root : text;
    String own = config.string("model_type");
    String outer = root.string("model_type");
    this.family = own != null ? own : outer != null ? outer : "";
  }

  private static JsonObject parse(String json) {
    Objects.requireNonNull(json, "json: null; expected the text of a config.json");
    // Lenient, because Python writes numbers that JSON lacks: some hybrid models have an Infinity
    // elsewhere in the file.
    try (JsonReader reader = new JsonReader(new StringReader(json))) {
      reader.setStrictness(Strictness.LENIENT);
      JsonElement document = JsonParser.parseReader(reader);
      if (!document.isJsonObject() || reader.peek() != JsonToken.END_DOCUMENT) {
        throw new IllegalArgumentException(
            "config: not a JSON object; expected the contents of a config.json");
      }
      return document.getAsJsonObject();
    } catch (JsonParseException | IOException e) {
      throw new IllegalArgumentException(
          "config: not JSON (" + e.getMessage() + "); expected the contents of a config.json", e);
    }
  }

  RotarySpec spec(@Nullable String layerType) {
    Section parameters = config.section("rope_scaling");
    if (parameters == null || parameters.isEmpty()) {
      parameters = config.section("rope_parameters");
    }
    if (parameters != null && parameters.holdsSectionsOnly()) {
      return ofLayer(parameters, layerType);
    }
    if (parameters == null) {
      parameters = new Section("rope_parameters", new JsonObject());
    }
    if (isGemma3() || config.has("rope_local_base_freq")) {
      return isSliding(layerType)
          ? build(new Section("", new JsonObject()), slidingTheta(), SLIDING, false)
          : build(parameters, theta(), FULL, true);
    }
    if (isModernBert() || config.has("local_rope_theta")) {
      return isSliding(layerType)
          ? build(parameters, slidingTheta(), SLIDING, true)
          : build(parameters, theta(), FULL, true);
    }
    requireListed(layerType);
    return build(parameters, theta(), layerType, true);
  }

  /** Builds the spec from parameters listed by layer type. */
  private RotarySpec ofLayer(Section layers, @Nullable String layerType) {
    String known = String.join(", ", layers.object.keySet());
    if (layerType == null && layers.object.size() > 1) {
      throw new IllegalArgumentException(
          "layerType: none, but " + layers.name + " is by layer type; expected one of " + known);
    }
    String type = layerType == null ? layers.object.keySet().iterator().next() : layerType;
    if (!layers.object.has(type)) {
      throw new IllegalArgumentException(
          "layerType: \"" + type + "\"; expected one of " + known + ", as " + layers.name + " has");
    }
    Section parameters = layers.section(type);
    if (parameters == null) {
      parameters = new Section(layers.name + "." + type, new JsonObject());
    }
    return build(parameters, type.equals(SLIDING) ? slidingTheta() : theta(), type, false);
  }

  /** For models whose file has separate keys for the two layer types. */
  private boolean isSliding(@Nullable String layerType) {
    if (layerType == null || !(layerType.equals(FULL) || layerType.equals(SLIDING))) {
      throw new IllegalArgumentException(
          "layerType: "
              + (layerType == null ? "none" : "\"" + layerType + "\"")
              + "; expected "
              + FULL
              + " or "
              + SLIDING
              + ", between which the frequencies of "
              + (family.isEmpty() ? "this model" : family)
              + " differ");
    }
    return layerType.equals(SLIDING);
  }

  /**
   * Checks the layer type of a model with identical layers: any of its own layer types is valid.
   */
  private void requireListed(@Nullable String layerType) {
    JsonElement listed = config.object.get("layer_types");
    if (layerType != null
        && listed instanceof JsonArray types
        && !types.contains(new JsonPrimitive(layerType))) {
      throw new IllegalArgumentException(
          "layerType: \"" + layerType + "\"; expected one of those in layer_types");
    }
  }

  private boolean isGemma3() {
    return family.startsWith("gemma3");
  }

  private boolean isModernBert() {
    return family.startsWith("modernbert");
  }

  private double theta() {
    for (String key : new String[] {"rotary_emb_base", "global_rope_theta", "rope_theta"}) {
      Double value = config.number(key);
      if (value != null) {
        return value;
      }
    }
    return isGemma3() ? 1_000_000 : isModernBert() ? 160_000 : 10_000;
  }

  private double slidingTheta() {
    for (String key : new String[] {"rope_local_base_freq", "local_rope_theta"}) {
      Double value = config.number(key);
      if (value != null) {
        return value;
      }
    }
    return isGemma3() ? 10_000 : theta();
  }

  /**
   * Builds the spec of one set of parameters.
   *
   * @param outerOriginal whether an original length next to the parameters takes precedence over
   *     one in them
   */
  private RotarySpec build(
      Section p, double defaultTheta, @Nullable String layerType, boolean outerOriginal) {
    String type = type(p);
    int headDim = headDim(type, layerType);
    Double givenTheta = p.number("rope_theta");
    RotarySpec.Builder builder =
        RotarySpec.builder(headDim).theta(givenTheta == null ? defaultTheta : givenTheta);
    if (type.equals("proportional")) {
      int rotating = (int) Math.floor(partial(p, headDim) * headDim / 2);
      return builder.scaling(RotaryScaling.proportional(p.number("factor", 1), rotating)).build();
    }
    int rotaryDim = rotaryDim(p, headDim);
    builder.rotaryDim(rotaryDim);
    return builder
        .scaling(
            switch (type) {
              case "default", "mrope" -> RotaryScaling.plain();
              case "linear" -> RotaryScaling.linear(p.required("factor"));
              case "dynamic" -> dynamic(p);
              case "llama3" ->
                  RotaryScaling.llama3(
                      p.required("factor"),
                      p.required("low_freq_factor"),
                      p.required("high_freq_factor"),
                      original(p, outerOriginal));
              case "yarn" -> yarn(p, original(p, outerOriginal));
              case "longrope" -> longRope(p, original(p, outerOriginal));
              default ->
                  throw new IllegalArgumentException(
                      p.path(p.has("rope_type") ? "rope_type" : "type")
                          + ": \""
                          + type
                          + "\"; expected "
                          + KNOWN_TYPES);
            })
        .build();
  }

  private static String type(Section p) {
    String type = p.string("rope_type");
    if (type == null) {
      type = p.string("type");
    }
    if (type == null) {
      return "default";
    }
    // Early Phi-3 checkpoints use these names for longrope.
    boolean early = type.equals("su") || type.equals("yarn") && p.has("short_factor");
    return early ? "longrope" : type;
  }

  private RotaryScaling dynamic(Section p) {
    if (p.has("alpha")) {
      throw new IllegalArgumentException(
          p.path("alpha") + ": " + p.object.get("alpha") + "; expected a factor alone");
    }
    return RotaryScaling.dynamicNtk(p.required("factor"), maxPositions());
  }

  private RotaryScaling yarn(Section p, long original) {
    Double factor = p.number("factor");
    Double fast = p.number("beta_fast");
    Double slow = p.number("beta_slow");
    return RotaryScaling.Yarn.builder(
            factor == null ? (double) maxPositions() / original : factor, original)
        .betas(fast == null || fast == 0 ? 32 : fast, slow == null || slow == 0 ? 1 : slow)
        .attentionFactor(p.number("attention_factor"))
        .mscale(p.number("mscale"), p.number("mscale_all_dim"))
        .truncate(p.flag("truncate", true))
        .build();
  }

  private RotaryScaling longRope(Section p, long original) {
    Double factor = p.number("factor");
    Double attention = p.number("attention_factor");
    if (attention == null && p.has("short_mscale")) {
      attention = p.required("short_mscale");
      if (attention != p.required("long_mscale")) {
        throw new IllegalArgumentException(
            p.path("long_mscale")
                + ": "
                + p.required("long_mscale")
                + "; expected "
                + attention
                + ", as short_mscale is");
      }
    }
    return new RotaryScaling.LongRope(
        p.numbers("short_factor"),
        p.numbers("long_factor"),
        original,
        factor == null ? (double) maxPositions() / original : factor,
        attention);
  }

  private int headDim(String type, @Nullable String layerType) {
    String key = "head_dim";
    if (config.has("qk_rope_head_dim")) {
      key = "qk_rope_head_dim";
    } else if (type.equals("proportional")
        && FULL.equals(layerType)
        && config.has("global_head_dim")) {
      key = "global_head_dim";
    }
    Long given = config.whole(key, RotarySpec.MAX_HEAD_DIM);
    if (given != null && given > 0) {
      return given.intValue();
    }
    if (isGemma3()) {
      return 256;
    }
    String hiddenKey = config.has("n_embd") ? "n_embd" : "hidden_size";
    String headsKey = config.has("n_head") ? "n_head" : "num_attention_heads";
    long heads = config.requiredWhole(headsKey, Integer.MAX_VALUE);
    long size = heads == 0 ? 0 : config.requiredWhole(hiddenKey, Integer.MAX_VALUE) / heads;
    if (size < 2 || size > RotarySpec.MAX_HEAD_DIM) {
      throw new IllegalArgumentException(
          hiddenKey
              + ": heads of "
              + size
              + " elements with "
              + headsKey
              + " "
              + heads
              + "; expected 2 to "
              + RotarySpec.MAX_HEAD_DIM);
    }
    return (int) size;
  }

  private int rotaryDim(Section p, int headDim) {
    Long given = config.whole("rotary_dim", RotarySpec.MAX_HEAD_DIM);
    boolean byFactor = p.has("partial_rotary_factor") || config.has("partial_rotary_factor");
    if (given != null && given > 0 && !byFactor) {
      if (given % 2 != 0 || given > headDim) {
        throw new IllegalArgumentException(
            config.path("rotary_dim")
                + ": "
                + given
                + "; expected an even number up to the size of a head, "
                + headDim);
      }
      return given.intValue();
    }
    double partial = partial(p, headDim);
    int dim = (int) (headDim * partial);
    if (dim < 2 || dim % 2 != 0) {
      throw new IllegalArgumentException(
          "partial_rotary_factor: "
              + partial
              + " of a head of "
              + headDim
              + " elements is "
              + dim
              + "; expected an even number of at least 2");
    }
    return dim;
  }

  private double partial(Section p, int headDim) {
    Section holder = p.has("partial_rotary_factor") ? p : config;
    String key = holder.has("partial_rotary_factor") ? "partial_rotary_factor" : "rotary_pct";
    double partial = holder.number(key, family.equals("gpt_neox") ? 0.25 : 1);
    if (!(partial > 0 && partial <= 1)) {
      throw new IllegalArgumentException(
          holder.path(key)
              + ": "
              + partial
              + "; expected a fraction of the head's "
              + headDim
              + " elements, above 0 and up to 1");
    }
    return partial;
  }

  private long original(Section p, boolean outerFirst) {
    String key = "original_max_position_embeddings";
    Section holder = outerFirst && config.has(key) ? config : p;
    return holder.has(key) ? holder.requiredWhole(key, Long.MAX_VALUE) : maxPositions();
  }

  private long maxPositions() {
    return config.requiredWhole(
        config.has("n_positions") ? "n_positions" : "max_position_embeddings", Long.MAX_VALUE);
  }

  /** An object of the document, with its name. A key with a null value counts as absent. */
  private static final class Section {
    final String name;
    final JsonObject object;

    Section(String name, JsonObject object) {
      this.name = name;
      this.object = object;
    }

    String path(String key) {
      return name.isEmpty() ? key : name + "." + key;
    }

    @Nullable JsonElement get(String key) {
      JsonElement value = object.get(key);
      return value == null || value.isJsonNull() ? null : value;
    }

    boolean has(String key) {
      return get(key) != null;
    }

    boolean isEmpty() {
      return object.isEmpty();
    }

    boolean holdsSectionsOnly() {
      return !isEmpty()
          && object.asMap().values().stream().allMatch(v -> v.isJsonObject() || v.isJsonNull());
    }

    @Nullable Section section(String key) {
      JsonElement value = get(key);
      if (value == null) {
        return null;
      }
      if (!value.isJsonObject()) {
        throw wrong(key, value, "an object");
      }
      return new Section(path(key), value.getAsJsonObject());
    }

    @Nullable String string(String key) {
      JsonElement value = get(key);
      if (value == null) {
        return null;
      }
      if (!(value instanceof JsonPrimitive p && p.isString())) {
        throw wrong(key, value, "a string");
      }
      return value.getAsString();
    }

    boolean flag(String key, boolean absent) {
      JsonElement value = get(key);
      if (value == null) {
        return absent;
      }
      if (!(value instanceof JsonPrimitive p && p.isBoolean())) {
        throw wrong(key, value, "true or false");
      }
      return value.getAsBoolean();
    }

    @Nullable Double number(String key) {
      JsonElement value = get(key);
      return value == null ? null : number(key, value);
    }

    double number(String key, double absent) {
      Double value = number(key);
      return value == null ? absent : value;
    }

    double required(String key) {
      Double value = number(key);
      if (value == null) {
        throw missing(key, "a number");
      }
      return value;
    }

    List<Double> numbers(String key) {
      JsonElement value = get(key);
      if (value == null) {
        throw missing(key, "a list of numbers");
      }
      if (!value.isJsonArray()) {
        throw wrong(key, value, "a list of numbers");
      }
      List<Double> all = new ArrayList<>();
      int i = 0;
      for (JsonElement element : value.getAsJsonArray()) {
        all.add(number(key + "[" + i++ + "]", element));
      }
      return all;
    }

    private double number(String key, JsonElement value) {
      double number =
          value instanceof JsonPrimitive p && p.isNumber() ? p.getAsDouble() : Double.NaN;
      if (!Double.isFinite(number)) {
        throw wrong(key, value, "a finite number");
      }
      return number;
    }

    @Nullable Long whole(String key, long largest) {
      Double value = number(key);
      if (value == null) {
        return null;
      }
      // A double above 2^53 has no fraction to detect, and is not a plausible size either.
      double limit = Math.min(largest, 1L << 53);
      if (value != Math.rint(value) || value < 0 || value > limit) {
        throw wrong(key, object.get(key), "a whole number from 0 to " + (long) limit);
      }
      return value.longValue();
    }

    long requiredWhole(String key, long largest) {
      Long value = whole(key, largest);
      if (value == null) {
        throw missing(key, "a whole number");
      }
      return value;
    }

    private IllegalArgumentException missing(String key, String expected) {
      return new IllegalArgumentException(path(key) + ": missing; expected " + expected);
    }

    private IllegalArgumentException wrong(String key, JsonElement value, String expected) {
      String text = value.toString();
      return new IllegalArgumentException(
          path(key)
              + ": "
              + (text.length() > 60 ? text.substring(0, 60) + ".." : text)
              + "; expected "
              + expected);
    }
  }
}
