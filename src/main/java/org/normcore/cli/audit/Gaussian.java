package org.normcore.cli.audit;

import com.google.common.hash.Hashing;
import java.nio.charset.StandardCharsets;
import java.util.Random;

/**
 * Standard normal numbers, the same on every machine for the same seed and name: {@link Random}
 * specifies its algorithm.
 */
final class Gaussian {
  private final long seed;

  Gaussian(long seed) {
    this.seed = seed;
  }

  /** Returns {@code count} numbers, from a separate random stream per name. */
  float[] draw(String name, int count) {
    Random random = random(name);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** Returns uniform numbers from -1 to 1. */
  float[] drawUniform(String name, int count) {
    Random random = random(name);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (2 * random.nextDouble() - 1);
    }
    return values;
  }

  private Random random(String name) {
    return new Random(
        Hashing.sha256()
            .newHasher()
            .putLong(seed)
            .putString(name, StandardCharsets.UTF_8)
            .hash()
            .asLong());
  }
}
