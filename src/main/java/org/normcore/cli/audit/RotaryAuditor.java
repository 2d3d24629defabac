package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.TreeSet;
import java.util.function.LongPredicate;
import java.util.stream.LongStream;
import org.normcore.AnglePrecision;
import org.normcore.DType;
import org.normcore.RotarySpec;
import org.normcore.RotaryTable;
import org.normcore.cli.BadInput;
import org.normcore.cli.OptionNames;
import org.normcore.cli.Progress;

/**
 * Builds tables by every method and measures the errors of the tables and of the scores of queries
 * and keys.
 */
final class RotaryAuditor {
  /**
   * For methods with integer positions the audit continues from here to the largest position of a
   * table.
   */
  private static final int FIRST_FAR_POWER = 20;

  private static final int HEADS = 8;

  /** The distances of the keys before their query. */
  private static final long[] DISTANCES = {1, 16, 256, 4096};

  private final RotarySpec spec;
  private final long positionCount;
  private final ImmutableList<DType> dtypes;
  private final Gaussian gaussian;
  private final ExactRotary exact;
  private final long[] near;
  private final long[] far;

  RotaryAuditor(
      RotarySpec spec, long positionCount, ImmutableList<DType> dtypes, Gaussian gaussian) {
    this.spec = spec;
    this.positionCount = positionCount;
    this.dtypes = dtypes;
    this.gaussian = gaussian;
    this.exact = new ExactRotary(spec, positionCount);
    TreeSet<Long> positions = new TreeSet<>(List.of(0L, positionCount - 2, positionCount - 1));
    addPowers(positions, 0, positionCount - 1);
    this.near = positions.stream().mapToLong(Long::longValue).toArray();
    addPowers(positions, FIRST_FAR_POWER, RotaryTable.MAX_POSITION);
    this.far = positions.stream().mapToLong(Long::longValue).toArray();
  }

  /**
   * Powers of two and their neighbours, and the midpoints between numbers of a format, which have
   * the largest rounding error.
   */
  private static void addPowers(TreeSet<Long> positions, int first, long most) {
    for (int k = first; 1L << k <= most; k++) {
      long power = 1L << k;
      positions.addAll(List.of(power - 1, power, power + 1));
      for (int significantBits : new int[] {8, 11, 24}) {
        if (k >= significantBits) {
          positions.add(power + (power >> significantBits));
        }
      }
    }
    positions.tailSet(most, false).clear();
  }

  RotaryReport run(Optional<Path> config, long seed) {
    List<TableMethod> methods = new ArrayList<>();
    for (DType arange : List.of(DType.BFLOAT16, DType.FLOAT16, DType.FLOAT32)) {
      methods.add(new ArangeMethod(spec, positionCount, arange, false));
    }
    methods.add(new ArangeMethod(spec, positionCount, DType.BFLOAT16, true));
    methods.add(new LibraryMethod(spec, positionCount, AnglePrecision.FLOAT32));
    methods.add(new LibraryMethod(spec, positionCount, AnglePrecision.FLOAT64));
    ImmutableList.Builder<RotaryReport.Method> results = ImmutableList.builder();
    try (Progress progress = Progress.start("audit", methods.size())) {
      for (TableMethod method : methods) {
        results.add(measure(method));
        progress.step(method.name());
      }
    }
    return new RotaryReport(spec, config, positionCount, seed, dtypes, results.build());
  }

  private RotaryReport.Method measure(TableMethod method) {
    long[] positions = method.hasWholePositions() ? far : near;
    List<ImmutableMap.Builder<DType, RotaryReport.Error>> errors = new ArrayList<>();
    for (int i = 0; i < positions.length; i++) {
      errors.add(ImmutableMap.builder());
    }
    ImmutableMap.Builder<DType, RotaryReport.TableError> tables = ImmutableMap.builder();
    for (DType dtype : dtypes) {
      ExactRotary.Row[] rows = method.rows(positions, dtype);
      double maxAbs = 0;
      double maxUlp = 0;
      for (int i = 0; i < positions.length; i++) {
        RotaryReport.Error error = error(rows[i], exact.row(positions[i]), dtype);
        errors.get(i).put(dtype, error);
        if (positions[i] < positionCount) {
          maxAbs = worse(maxAbs, error.maxAbs());
          maxUlp = worse(maxUlp, error.maxUlp());
        }
      }
      double[] scores = scores(method, dtype);
      tables.put(
          dtype,
          new RotaryReport.TableError(
              new RotaryReport.Error(maxAbs, maxUlp), scores[0], scores[1]));
    }
    ImmutableList.Builder<RotaryReport.Point> points = ImmutableList.builder();
    for (int i = 0; i < positions.length; i++) {
      points.add(
          new RotaryReport.Point(
              positions[i],
              method.position(positions[i]),
              radians(method, positions[i]),
              errors.get(i).build()));
    }
    return new RotaryReport.Method(
        method.name(),
        method.sentence(),
        distinct(method),
        firstWrong(method),
        firstLost(method),
        points.build(),
        tables.build());
  }

  /** Returns the larger value and ignores NaN, which is counted elsewhere. */
  private static double worse(double a, double b) {
    return Double.isFinite(b) ? Math.max(a, b) : a;
  }

  private double radians(TableMethod method, long position) {
    double largest = 0;
    for (int i = 0; i < exact.pairs(); i++) {
      BigDecimal angle = method.angle(position, i);
      largest =
          angle == null
              ? Double.POSITIVE_INFINITY
              : Math.max(largest, angle.subtract(exact.angle(position, i)).abs().doubleValue());
    }
    return largest;
  }

  private static RotaryReport.Error error(
      ExactRotary.Row actual, ExactRotary.Row expected, DType dtype) {
    PlainRounding format = new PlainRounding(dtype);
    double maxAbs = 0;
    double maxUlp = 0;
    for (int i = 0; i < expected.cos().length; i++) {
      for (boolean isCos : new boolean[] {true, false}) {
        double a = isCos ? actual.cos()[i] : actual.sin()[i];
        double e = isCos ? expected.cos()[i] : expected.sin()[i];
        double difference = Math.abs(a - e);
        if (Double.isNaN(difference)) {
          return new RotaryReport.Error(Double.NaN, Double.NaN);
        }
        maxAbs = Math.max(maxAbs, difference);
        maxUlp = Math.max(maxUlp, difference / format.step(e));
      }
    }
    return new RotaryReport.Error(maxAbs, maxUlp);
  }

  private long distinct(TableMethod method) {
    long count = 0;
    double last = Double.NaN;
    for (long position = 0; position < positionCount; position++) {
      // Rounding is monotonic, so equal positions are neighbours.
      double held = method.position(position);
      count += held == last || Double.isInfinite(held) ? 0 : 1;
      last = held;
    }
    return count;
  }

  private OptionalLong firstWrong(TableMethod method) {
    return first(position -> method.position(position) != position);
  }

  private OptionalLong firstLost(TableMethod method) {
    return first(position -> Double.isInfinite(method.position(position)));
  }

  private OptionalLong first(LongPredicate isSo) {
    return LongStream.range(0, positionCount).filter(isSo).findFirst();
  }

  /** The largest and the root mean square error of the scores of random heads. */
  private double[] scores(TableMethod method, DType dtype) {
    TreeSet<Long> needed = new TreeSet<>();
    for (long query : near) {
      needed.add(query);
      for (long distance : DISTANCES) {
        if (distance <= query) {
          needed.add(query - distance);
        }
      }
    }
    long[] positions = needed.stream().mapToLong(Long::longValue).toArray();
    ExactRotary.Row[] rows = method.rows(positions, dtype);
    Map<Long, ExactRotary.Row> rowOf = new HashMap<>();
    for (int i = 0; i < positions.length; i++) {
      rowOf.put(positions[i], rows[i]);
    }
    int dim = 2 * exact.pairs();
    float[] q = gaussian.draw("q", HEADS * dim);
    float[] k = gaussian.draw("k", HEADS * dim);
    double largest = 0;
    double squares = 0;
    long count = 0;
    for (long query : near) {
      for (long distance : DISTANCES) {
        for (int head = 0; head < HEADS && distance <= query; head++) {
          long key = query - distance;
          double difference =
              score(q, k, head, rowOf.get(query), rowOf.get(key))
                  - score(q, k, head, exact.row(query), exact.row(key));
          if (!Double.isNaN(difference)) {
            largest = Math.max(largest, Math.abs(difference));
            squares += difference * difference;
            count++;
          }
        }
      }
    }
    return new double[] {largest, count == 0 ? 0 : Math.sqrt(squares / count)};
  }

  /** The dot product of the rotated query and key, over the root of their length, in float64. */
  private double score(
      float[] q, float[] k, int head, ExactRotary.Row queryRow, ExactRotary.Row keyRow) {
    int pairs = exact.pairs();
    int at = head * 2 * pairs;
    double sum = 0;
    for (int i = 0; i < pairs; i++) {
      double q1 = q[at + i];
      double q2 = q[at + pairs + i];
      double k1 = k[at + i];
      double k2 = k[at + pairs + i];
      sum +=
          (q1 * queryRow.cos()[i] - q2 * queryRow.sin()[i])
                  * (k1 * keyRow.cos()[i] - k2 * keyRow.sin()[i])
              + (q2 * queryRow.cos()[i] + q1 * queryRow.sin()[i])
                  * (k2 * keyRow.cos()[i] + k1 * keyRow.sin()[i]);
    }
    return sum / Math.sqrt(2.0 * pairs);
  }

  /** Checks the types of the tables. */
  static ImmutableList<DType> checkedDTypes(List<DType> dtypes) {
    for (DType dtype : dtypes) {
      if (!List.of(DType.FLOAT32, DType.BFLOAT16, DType.FLOAT16).contains(dtype)) {
        throw new BadInput(
            "--dtype is " + OptionNames.of(dtype) + ", expected float32, bfloat16 or float16");
      }
    }
    return ImmutableList.copyOf(dtypes);
  }
}
