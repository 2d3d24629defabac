package org.normcore.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.normcore.RotarySpec;
import picocli.CommandLine.Option;

/** The options that say what a rotary position embedding is. */
public final class RotaryOptions {
  @Option(
      names = "--config",
      paramLabel = "FILE",
      description = "A Hugging Face config.json with head size, theta and scaling.")
  private Path config;

  @Option(
      names = "--layer-type",
      paramLabel = "TYPE",
      description =
          "With --config: the layers that are meant, where the model's differ, for example"
              + " sliding_attention.")
  private String layerType;

  @Option(
      names = "--theta",
      paramLabel = "T",
      description = "The base of the frequencies. Default: 10000.")
  private Double theta;

  @Option(
      names = "--rotary-dim",
      paramLabel = "N",
      description = "How many of a head's first elements turn. Default: all.")
  private Integer rotaryDim;

  /** The config.json, if there is one. */
  public Optional<Path> config() {
    return Optional.ofNullable(config);
  }

  /** Whether anything is given. */
  public boolean isGiven() {
    return config != null || layerType != null || theta != null || rotaryDim != null;
  }

  /** What they describe; heads have the given size unless a config.json says so. */
  public RotarySpec spec(int headDim) throws IOException {
    if (config != null) {
      refuse("--theta", theta);
      refuse("--rotary-dim", rotaryDim);
      return RotarySpec.fromConfig(config, layerType);
    }
    if (layerType != null) {
      throw new BadInput("--layer-type needs --config, whose layers differ");
    }
    RotarySpec.Builder builder = RotarySpec.builder(headDim);
    if (theta != null) {
      builder.theta(theta);
    }
    if (rotaryDim != null) {
      builder.rotaryDim(rotaryDim);
    }
    return builder.build();
  }

  private static void refuse(String name, Object value) {
    if (value != null) {
      throw new BadInput(
          name + " is " + value + ", but --config says it too, expected one of the two");
    }
  }
}
