package org.normcore.cli.bench;

import com.google.gson.JsonArray;
import java.util.Arrays;

/** The times of a task per round, in nanoseconds, or ratios of such times. */
final class Samples {
  private final double[] byRound;
  private final double[] sorted;

  Samples(double[] byRound) {
    this.byRound = byRound.clone();
    this.sorted = byRound.clone();
    Arrays.sort(sorted);
  }

  double median() {
    return quantile(0.5);
  }

  /** Interpolates linearly between the two nearest samples. */
  double quantile(double share) {
    double place = share * (sorted.length - 1);
    int below = (int) place;
    int above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
  }

  /** The ratios to other samples, round by round. */
  Samples over(Samples others) {
    double[] ratios = new double[byRound.length];
    for (int i = 0; i < ratios.length; i++) {
      ratios[i] = byRound[i] / others.byRound[i];
    }
    return new Samples(ratios);
  }

  /** The first and the third quartile, multiplied by a factor. */
  JsonArray quartiles(double factor) {
    JsonArray array = new JsonArray();
    array.add(quantile(0.25) * factor);
    array.add(quantile(0.75) * factor);
    return array;
  }
}
