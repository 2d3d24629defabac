package org.normcore.bench;

import java.util.Arrays;
import java.util.Collection;

/** Times of one call in nanoseconds, sorted. */
record Samples(double[] nanos) {
  Samples {
    nanos = nanos.clone();
    Arrays.sort(nanos);
  }

  static Samples of(Collection<Double> nanos) {
    return new Samples(nanos.stream().mapToDouble(Double::doubleValue).toArray());
  }

  static Samples merged(Collection<Samples> parts) {
    return new Samples(parts.stream().flatMapToDouble(part -> Arrays.stream(part.nanos)).toArray());
  }

  double median() {
    return quantile(0.5);
  }

  Summary summary() {
    return new Summary(median(), quantile(0.25), quantile(0.75), nanos.length);
  }

  /** Interpolates linearly between the two nearest samples. */
  private double quantile(double q) {
    double place = q * (nanos.length - 1);
    int below = (int) place;
    int above = Math.min(below + 1, nanos.length - 1);
    return nanos[below] + (place - below) * (nanos[above] - nanos[below]);
  }
}
