package org.normcore.cli.audit;

import java.math.BigDecimal;
import org.jspecify.annotations.Nullable;
import org.normcore.DType;

/** A way of building a table of cosines and sines. */
interface TableWay {
  /** Its name in reports. */
  String name();

  /** What it does, in one sentence. */
  String sentence();

  /** Whether positions are whole numbers on the way to the angle. */
  boolean hasWholePositions();

  /** What becomes of a position; infinity where the type has no such number. */
  double position(long position);

  /** The angle of a pair at a position, or nothing where it is no number. */
  @Nullable BigDecimal angle(long position, int pair);

  /** The cosines and sines of positions, cast to a type. */
  ExactRotary.Row[] rows(long[] positions, DType dtype);
}
