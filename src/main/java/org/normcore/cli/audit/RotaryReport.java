package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalLong;
import org.normcore.DType;
import org.normcore.RotarySpec;
import org.normcore.cli.Numbers;

/**
 * The result of an audit of rotary tables. Positions outside the range of a method's type have
 * infinite and NaN errors; the largest errors exclude these.
 *
 * @param spec the embedding
 * @param config its file; empty if options define it
 * @param positionCount the number of positions, from 0; more for methods with integer positions
 * @param seed the seed of the random heads
 * @param dtypes the types of the tables
 * @param methods the result of each method
 */
record RotaryReport(
    RotarySpec spec,
    Optional<Path> config,
    long positionCount,
    long seed,
    ImmutableList<DType> dtypes,
    ImmutableList<Method> methods) {

  /**
   * The result of one method.
   *
   * @param name its name
   * @param sentence its description
   * @param distinct the number of distinct positions
   * @param firstWrong the first position that becomes another position
   * @param firstLost the first position that becomes NaN or infinity
   * @param points by position, in ascending order
   * @param tables the largest errors of each type over these positions
   */
  record Method(
      String name,
      String sentence,
      long distinct,
      OptionalLong firstWrong,
      OptionalLong firstLost,
      ImmutableList<Point> points,
      ImmutableMap<DType, TableError> tables) {

    /** The largest finite error of an angle, over the first {@code count} positions. */
    double radians(long count) {
      return points.stream()
          .filter(point -> point.position < count)
          .mapToDouble(Point::radians)
          .filter(Double::isFinite)
          .max()
          .orElse(0);
    }
  }

  /**
   * A method at one position.
   *
   * @param position the position
   * @param becomes the position that the method computes
   * @param radians the largest error of an angle
   * @param tables the largest errors of cosine and sine, by the table's type
   */
  record Point(long position, double becomes, double radians, ImmutableMap<DType, Error> tables) {}

  /** The largest error of cosine and sine, absolute and in units in the last place. */
  record Error(double maxAbs, double maxUlp) {}

  /** The largest errors of one type, and the errors of the scores of queries and keys. */
  record TableError(Error error, double maxScore, double rmsScore) {}

  /** The result in a few words. */
  String headline() {
    Method worst = methods.get(0);
    return "A "
        + worst.name.replace("-arange", "").replace("-throughout", "")
        + " arange keeps "
        + worst.distinct
        + " of "
        + positionCount
        + " positions distinct";
  }

  /** The result in a sentence or two. */
  String conclusion() {
    StringBuilder text = new StringBuilder();
    for (Method method : methods) {
      if (method.firstWrong.isPresent()) {
        text.append("From position ")
            .append(method.firstWrong.getAsLong())
            .append(" on, ")
            .append(method.name)
            .append(" gives tokens the angles of other positions: ")
            .append(method.distinct)
            .append(" of ")
            .append(positionCount)
            .append(" positions are distinct, and angles are off by up to ")
            .append(Numbers.shortest(method.radians(positionCount)))
            .append(" radians");
        if (method.firstLost.isPresent()) {
          text.append("; from ")
              .append(method.firstLost.getAsLong())
              .append(" on positions are infinite or NaN");
        }
        text.append(". ");
      }
    }
    Method last = methods.get(methods.size() - 1);
    return text.append("With integer positions and float64 angles the error is at most ")
        .append(Numbers.shortest(last.radians(positionCount)))
        .append(" radians.")
        .toString();
  }
}
