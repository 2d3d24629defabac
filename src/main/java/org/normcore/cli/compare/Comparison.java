package org.normcore.cli.compare;

import static com.google.common.base.Preconditions.checkArgument;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Optional;
import org.normcore.TensorView;

/**
 * The difference of two tensors of one dtype and shape.
 *
 * <p>Elements are equal if their bits are equal or both are NaN. Comparisons of several tensors can
 * be added.
 */
public final class Comparison {
  /** Elements with a larger absolute difference are counted separately. */
  public static final double BEYOND = 0.01;

  private static final long LARGEST_PIECE = 1 << 20;

  private final UlpHistogram histogram = new UlpHistogram();
  private long elements;
  private long differing;
  private long beyond;
  private long nanMismatches;
  private double maxAbs;
  private long maxUlp;
  private Difference first;

  /**
   * Two elements that differ.
   *
   * @param index the position among all elements, counted in row order
   * @param a the first tensor's element
   * @param b the second tensor's element
   */
  public record Difference(long index, double a, double b) {}

  /** Compares two contiguous tensors on the CPU. */
  public static Comparison of(TensorView a, TensorView b) {
    checkArgument(
        a.dtype() == b.dtype(),
        "dtype: %s and %s can't be compared bit by bit",
        a.dtype(),
        b.dtype());
    checkArgument(
        Arrays.equals(a.shape(), b.shape()),
        "shape: %s and %s differ",
        Arrays.toString(a.shape()),
        Arrays.toString(b.shape()));
    Comparison comparison = new Comparison();
    long count = a.elements();
    TensorView flatA = a.reshape(count, 1);
    TensorView flatB = b.reshape(count, 1);
    for (long begin = 0; begin < count; begin += LARGEST_PIECE) {
      long end = Math.min(count, begin + LARGEST_PIECE);
      comparison.addPiece(flatA.rows(begin, end), flatB.rows(begin, end), begin);
    }
    return comparison;
  }

  /** An empty comparison, the start of a sum. */
  public static Comparison empty() {
    return new Comparison();
  }

  /** Adds another comparison's counts to this one's. */
  public void add(Comparison other) {
    elements += other.elements;
    differing += other.differing;
    beyond += other.beyond;
    nanMismatches += other.nanMismatches;
    maxAbs = Math.max(maxAbs, other.maxAbs);
    maxUlp = Math.max(maxUlp, other.maxUlp);
    histogram.add(other.histogram);
  }

  private void addPiece(TensorView a, TensorView b, long offset) {
    OrderedBits bits = new OrderedBits(a.dtype());
    ByteBuffer bytesA = ByteBuffer.wrap(a.toBytes()).order(ByteOrder.nativeOrder());
    ByteBuffer bytesB = ByteBuffer.wrap(b.toBytes()).order(ByteOrder.nativeOrder());
    double[] valuesA = a.toDoubles();
    double[] valuesB = b.toDoubles();
    for (int i = 0; i < valuesA.length; i++) {
      long orderedA = bits.at(bytesA, i);
      long orderedB = bits.at(bytesB, i);
      if (orderedA == orderedB) {
        histogram.add(0);
      } else {
        addDifference(orderedA, orderedB, new Difference(offset + i, valuesA[i], valuesB[i]));
      }
    }
    elements += valuesA.length;
  }

  private void addDifference(long orderedA, long orderedB, Difference difference) {
    differing++;
    if (first == null) {
      first = difference;
    }
    if (orderedA == OrderedBits.NAN || orderedB == OrderedBits.NAN) {
      nanMismatches++;
      return;
    }
    double distance = Math.abs(difference.a() - difference.b());
    maxAbs = Math.max(maxAbs, distance);
    if (distance > BEYOND) {
      beyond++;
    }
    long ulp = OrderedBits.distance(orderedA, orderedB);
    maxUlp = Math.max(maxUlp, ulp);
    histogram.add(ulp);
  }

  /** The number of elements compared. */
  public long elements() {
    return elements;
  }

  /** The number of elements that differ. */
  public long differing() {
    return differing;
  }

  /** The share of elements that differ, from 0 to 1. */
  public double differingShare() {
    return elements == 0 ? 0 : (double) differing / elements;
  }

  /** The share of elements that differ by more than {@link #BEYOND}. */
  public double beyondShare() {
    return elements == 0 ? 0 : (double) beyond / elements;
  }

  /**
   * The number of pairs with exactly one NaN. They count as differing and are excluded elsewhere.
   */
  public long nanMismatches() {
    return nanMismatches;
  }

  /** The largest absolute difference. */
  public double maxAbs() {
    return maxAbs;
  }

  /** The largest distance in units in the last place. */
  public long maxUlp() {
    return maxUlp;
  }

  /** The histogram of distances in units in the last place. */
  public UlpHistogram histogram() {
    return histogram;
  }

  /** The first elements that differ, if any do. */
  public Optional<Difference> first() {
    return Optional.ofNullable(first);
  }
}
