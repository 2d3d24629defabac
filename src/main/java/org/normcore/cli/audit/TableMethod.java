package org.normcore.cli.audit;

import java.math.BigDecimal;
import org.jspecify.annotations.Nullable;
import org.normcore.DType;

/** A method of building a table of cosines and sines. */
interface TableMethod {
  /** Its name in reports. */
  String name();

  /** Its description, in one sentence. */
  String sentence();

  /** Whether the method computes angles from integer positions. */
  boolean hasWholePositions();

  /** The position that the method computes; infinity if it is out of the type's range. */
  double position(long position);

  /** The angle of a pair at a position, or empty if it is NaN. */
  @Nullable BigDecimal angle(long position, int pair);

  /** The cosines and sines of positions, cast to a type. */
  ExactRotary.Row[] rows(long[] positions, DType dtype);
}
