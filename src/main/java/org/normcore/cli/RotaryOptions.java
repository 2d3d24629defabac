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

  /**
   * What they describe; heads have the given size unless a config.json says so.
   *
   * @param headDim the size
   * @param source the option, or the file and tensor, that it is from
   */
  public RotarySpec spec(long headDim, String source) throws IOException {
    if (config != null) {
      refuse("--theta", theta);
      refuse("--rotary-dim", rotaryDim);
      return RotarySpec.fromConfig(config, layerType);
    }
    if (layerType != null) {
      throw new BadInput("--layer-type needs --config, whose layers differ");
    }
    if (headDim < 2
        || headDim > RotarySpec.MAX_HEAD_DIM
        || (headDim % 2 != 0 && rotaryDim == null)) {
      throw new BadInput(
          source
              + " is "
              + headDim
              + ", expected 2 to "
              + RotarySpec.MAX_HEAD_DIM
              + ", and an even number without --rotary-dim");
    }
    RotarySpec.Builder builder = RotarySpec.builder((int) headDim);
    if (rotaryDim != null) {
      if (rotaryDim < 2 || rotaryDim > headDim || rotaryDim % 2 != 0) {
        throw new BadInput(
            "--rotary-dim is "
                + rotaryDim
                + ", expected an even number from 2 to the head_dim, "
                + headDim);
      }
      builder.rotaryDim(rotaryDim);
    }
    if (theta != null) {
      if (!(theta > 0 && theta < Double.POSITIVE_INFINITY)) {
        throw new BadInput("--theta is " + theta + ", expected a positive, finite number");
      }
      builder.theta(theta);
    }
    try {
      return builder.build();
    } catch (IllegalArgumentException e) {
      // All else has been checked: it is the frequencies, which are theta to a power.
      throw new BadInput(
          "--theta is "
              + theta
              + ", expected one whose frequencies, theta^(-2i / "
              + (rotaryDim == null ? headDim : rotaryDim)
              + "), are finite");
    }
  }

  private static void refuse(String name, Object value) {
    if (value != null) {
      throw new BadInput(name + " can't be given with --config");
    }
  }
}
