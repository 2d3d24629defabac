package org.normcore.cli.compare;

import com.google.common.collect.ImmutableList;

/**
 * Counts of elements by distance in units in the last place: 0, 1, 2, 3 to 4, 5 to 8, and so on by
 * powers of two.
 */
public final class UlpHistogram {
  private static final int BUCKETS = 65;

  private final long[] counts = new long[BUCKETS];

  /**
   * One class of distances.
   *
   * @param from the smallest distance in it
   * @param to the largest
   * @param count how many elements are in it
   */
  public record Bucket(long from, long to, long count) {
    /** The class as text, for example {@code 3-4}. */
    public String label() {
      return from == to ? Long.toString(from) : from + "-" + to;
    }
  }

  void add(long distance) {
    counts[bucket(distance)]++;
  }

  void add(UlpHistogram other) {
    for (int i = 0; i < BUCKETS; i++) {
      counts[i] += other.counts[i];
    }
  }

  private static int bucket(long distance) {
    return distance == 0 ? 0 : 1 + Long.SIZE - Long.numberOfLeadingZeros(distance - 1);
  }

  /** The classes from 0 to the last non-empty one. */
  public ImmutableList<Bucket> buckets() {
    int last = BUCKETS - 1;
    while (last > 0 && counts[last] == 0) {
      last--;
    }
    ImmutableList.Builder<Bucket> buckets = ImmutableList.builder();
    for (int i = 0; i <= last; i++) {
      buckets.add(new Bucket(from(i), to(i), counts[i]));
    }
    return buckets.build();
  }

  private static long from(int bucket) {
    return bucket < 2 ? bucket : to(bucket - 1) + 1;
  }

  private static long to(int bucket) {
    if (bucket < 2) {
      return bucket;
    }
    return bucket == BUCKETS - 1 ? Long.MAX_VALUE : 1L << (bucket - 1);
  }
}
