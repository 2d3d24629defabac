package org.normcore.cli.audit;

import java.math.BigDecimal;
import java.util.Arrays;
import org.normcore.AnglePrecision;
import org.normcore.DType;
import org.normcore.RotarySpec;
import org.normcore.RotaryTable;

/** The library's own tables. */
final class LibraryMethod implements TableMethod {
  private final RotarySpec spec;
  private final long sequenceLength;
  private final AnglePrecision angles;
  private final double[] frequencies;
  private final float[] frequenciesInFloat32;

  LibraryMethod(RotarySpec spec, long sequenceLength, AnglePrecision angles) {
    this.spec = spec;
    this.sequenceLength = sequenceLength;
    this.angles = angles;
    this.frequencies = spec.inverseFrequencies(sequenceLength);
    this.frequenciesInFloat32 = spec.inverseFrequenciesInFloat32(sequenceLength);
  }

  @Override
  public String name() {
    return angles == AnglePrecision.FLOAT64 ? "normcore-float64" : "normcore-float32";
  }

  @Override
  public String sentence() {
    return angles == AnglePrecision.FLOAT64
        ? "Integer positions; frequencies, angles, cosines and sines in float64, cast last."
        : "Integer positions; then float32 in the order of Hugging Face, cast last.";
  }

  @Override
  public boolean hasWholePositions() {
    return true;
  }

  @Override
  public double position(long position) {
    return angles == AnglePrecision.FLOAT64 ? (double) position : (double) (float) position;
  }

  @Override
  public BigDecimal angle(long position, int pair) {
    return angles == AnglePrecision.FLOAT64
        ? BigDecimal.valueOf(position).multiply(new BigDecimal(frequencies[pair]))
        : new BigDecimal((double) ((float) position * frequenciesInFloat32[pair]));
  }

  @Override
  public ExactRotary.Row[] rows(long[] positions, DType dtype) {
    try (RotaryTable table =
        RotaryTable.builder(spec)
            .angles(angles)
            .dtype(dtype)
            .sequenceLength(sequenceLength)
            .positions(positions)) {
      double[] cos = table.cos().toDoubles();
      double[] sin = table.sin().toDoubles();
      int pairs = frequencies.length;
      ExactRotary.Row[] rows = new ExactRotary.Row[positions.length];
      for (int r = 0; r < rows.length; r++) {
        rows[r] =
            new ExactRotary.Row(
                Arrays.copyOfRange(cos, r * pairs, (r + 1) * pairs),
                Arrays.copyOfRange(sin, r * pairs, (r + 1) * pairs));
      }
      return rows;
    }
  }
}
