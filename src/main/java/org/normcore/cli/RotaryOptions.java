package org.normcore.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.normcore.RotarySpec;
import picocli.CommandLine.Option;

/** The options of a rotary position embedding. */
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
          "With --config: the layer type, if the model's layers differ, for example"
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
      description = "The number of leading elements of a head that are rotated. Default: all.")
  private Integer rotaryDim;

  /** The config.json, if given. */
  public Optional<Path> config() {
    return Optional.ofNullable(config);
  }

  /** Whether any option is given. */
  public boolean isGiven() {
    return config != null || layerType != null || theta != null || rotaryDim != null;
  }

  /**
   * Returns the spec; heads have the given size unless a config.json sets it.
   *
   * @param headDim the size
   * @param source the option, or the file and tensor, of the size
   */
  public RotarySpec spec(long headDim, String source) throws IOException {
    if (config != null) {
      refuse("--theta", theta);
      refuse("--rotary-dim", rotaryDim);
      return RotarySpec.fromConfig(config, layerType);
    }
    if (layerType != null) {
      throw new BadInput("--layer-type needs a --config with different layer types");
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
      // All other arguments are valid, so the frequencies, powers of theta, are not finite.
      throw new BadInput(
          "--theta is "
              + theta
              + ", expected a value for which the frequencies, theta^(-2i / "
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
