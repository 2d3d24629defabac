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
 * What an audit of rotary tables found out. Positions that a way's type does not hold have infinite
 * and NaN errors; the worst is that of the others.
 *
 * @param spec the embedding
 * @param config where it was read from; nothing if it was given by options
 * @param positionCount how many positions are looked at, from 0 on; more of ways with whole
 *     positions
 * @param seed what the drawn heads come from
 * @param dtypes the types that tables are cast to
 * @param ways what each way came to
 */
record RotaryReport(
    RotarySpec spec,
    Optional<Path> config,
    long positionCount,
    long seed,
    ImmutableList<DType> dtypes,
    ImmutableList<Way> ways) {

  /**
   * One way of building the table.
   *
   * @param name its name
   * @param sentence what it does
   * @param distinct how many of the positions it keeps apart
   * @param firstWrong the first position that becomes another one
   * @param firstLost the first position that becomes no number at all
   * @param points by position, in ascending order
   * @param tables the worst of each type over these positions
   */
  record Way(
      String name,
      String sentence,
      long distinct,
      OptionalLong firstWrong,
      OptionalLong firstLost,
      ImmutableList<Point> points,
      ImmutableMap<DType, TableError> tables) {

    /** The largest error of an angle of so many positions, of those that are numbers. */
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
   * A way at one position.
   *
   * @param position the position
   * @param becomes what the way makes of it
   * @param radians the largest error of an angle
   * @param tables the largest errors of cosine and sine, by the table's type
   */
  record Point(long position, double becomes, double radians, ImmutableMap<DType, Error> tables) {}

  /** The largest error of cosine and sine, absolute and in units in the last place. */
  record Error(double maxAbs, double maxUlp) {}

  /** The worst of one type, and what it does to the scores of queries and keys. */
  record TableError(Error error, double maxScore, double rmsScore) {}

  /** The result in a few words. */
  String headline() {
    Way worst = ways.get(0);
    return "A "
        + worst.name.replace("-arange", "").replace("-throughout", "")
        + " arange keeps "
        + worst.distinct
        + " of "
        + positionCount
        + " positions apart";
  }

  /** The result in a sentence or two. */
  String conclusion() {
    StringBuilder text = new StringBuilder();
    for (Way way : ways) {
      if (way.firstWrong.isPresent()) {
        text.append("From position ")
            .append(way.firstWrong.getAsLong())
            .append(" on, ")
            .append(way.name)
            .append(" gives tokens the angles of other positions: ")
            .append(way.distinct)
            .append(" of ")
            .append(positionCount)
            .append(" positions stay apart, and angles are off by up to ")
            .append(Numbers.shortest(way.radians(positionCount)))
            .append(" radians");
        if (way.firstLost.isPresent()) {
          text.append("; from ").append(way.firstLost.getAsLong()).append(" on there is no angle");
        }
        text.append(". ");
      }
    }
    Way last = ways.get(ways.size() - 1);
    return text.append("With whole positions and float64 angles the error is at most ")
        .append(Numbers.shortest(last.radians(positionCount)))
        .append(" radians.")
        .toString();
  }
}
