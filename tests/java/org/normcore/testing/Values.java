package org.normcore.testing;

import java.util.SplittableRandom;

/** Random contents. The same seed gives the same values everywhere. */
public final class Values {
  private Values() {}

  /** Returns normally distributed values with the given mean and deviation. */
  public static double[] normal(long seed, long count, double mean, double deviation) {
    SplittableRandom random = new SplittableRandom(seed);
    double[] values = new double[Math.toIntExact(count)];
    for (int i = 0; i < values.length; i++) {
      values[i] = mean + deviation * random.nextGaussian();
    }
    return values;
  }

  /** Returns values from the standard normal distribution. */
  public static double[] normal(long seed, long count) {
    return normal(seed, count, 0, 1);
  }
}
