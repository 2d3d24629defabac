package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.RotarySpec;
import org.normcore.cli.BadInput;
import org.normcore.cli.RotaryOptions;
import org.normcore.cli.safetensors.StrictJson;

/** An audit of rotary tables: completes the options and runs it. */
final class RotaryAudit {
  static final long USUAL_POSITIONS = 131_072;

  /** The audit visits every position to count the distinct ones. */
  private static final long MOST_POSITIONS = 1L << 25;

  private static final int USUAL_HEAD_DIM = 128;
  private static final long LARGEST_CONFIG = 16_000_000;

  private final RotarySpec spec;
  private final Optional<Path> config;
  private final long positionCount;
  private final ImmutableList<DType> dtypes;
  private final long seed;

  RotaryAudit(
      RotaryOptions options,
      Optional<Integer> headDim,
      Optional<Long> maxPosition,
      Optional<ImmutableList<DType>> dtypes,
      long seed)
      throws IOException {
    this.config = options.config();
    if (config.isPresent() && headDim.isPresent()) {
      throw new BadInput("--head-dim can't be given with --config");
    }
    this.spec = options.spec(headDim.orElse(USUAL_HEAD_DIM), "--head-dim");
    this.positionCount =
        maxPosition.isPresent() ? maxPosition.get() : configured().orElse(USUAL_POSITIONS);
    if (this.positionCount < 2 || this.positionCount > MOST_POSITIONS) {
      throw new BadInput(
          (maxPosition.isPresent() ? "--max-position" : config.get() + ": max_position_embeddings")
              + " is "
              + this.positionCount
              + ", expected 2 to "
              + MOST_POSITIONS);
    }
    this.dtypes =
        RotaryAuditor.checkedDTypes(
            dtypes.orElse(ImmutableList.of(DType.BFLOAT16, DType.FLOAT16, DType.FLOAT32)));
    this.seed = seed;
  }

  /** The number of positions in the config.json. */
  private Optional<Long> configured() throws IOException {
    if (config.isEmpty()) {
      return Optional.empty();
    }
    JsonObject json = StrictJson.readObject(config.get(), LARGEST_CONFIG);
    JsonElement text = json.get("text_config");
    for (JsonObject part :
        text != null && text.isJsonObject()
            ? ImmutableList.of(text.getAsJsonObject(), json)
            : ImmutableList.of(json)) {
      if (part.get("max_position_embeddings") instanceof JsonPrimitive number
          && number.isNumber()) {
        return Optional.of(number.getAsLong());
      }
    }
    return Optional.empty();
  }

  RotaryReport run() {
    return new RotaryAuditor(spec, positionCount, dtypes, new Gaussian(seed)).run(config, seed);
  }
}
