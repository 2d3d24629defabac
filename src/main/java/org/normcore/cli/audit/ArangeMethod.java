package org.normcore.cli.audit;

import java.math.BigDecimal;
import org.jspecify.annotations.Nullable;
import org.normcore.DType;
import org.normcore.RotarySpec;
import org.normcore.cli.OptionNames;

/**
 * Positions from a floating-point arange, as under a default dtype; the later steps in float32, or
 * in the type of the arange.
 */
final class ArangeMethod implements TableMethod {
  private final DType arange;
  private final boolean throughout;
  private final PlainRounding positions;
  private final PlainRounding steps;
  private final float[] frequencies;
  private final float attentionScaling;

  ArangeMethod(RotarySpec spec, long sequenceLength, DType arange, boolean throughout) {
    this.arange = arange;
    this.throughout = throughout;
    this.positions = new PlainRounding(arange);
    this.steps = throughout ? positions : new PlainRounding(DType.FLOAT32);
    this.frequencies = spec.inverseFrequenciesInFloat32(sequenceLength);
    this.attentionScaling = (float) spec.attentionScaling();
  }

  @Override
  public String name() {
    return OptionNames.of(arange) + (throughout ? "-throughout" : "-arange");
  }

  @Override
  public String sentence() {
    return throughout
        ? "Positions, frequencies, angles, cosines and sines are all "
            + OptionNames.of(arange)
            + ", as under a low-precision default type."
        : "Positions come from a "
            + OptionNames.of(arange)
            + " arange; frequencies, angles, cosines and sines are float32, cast last.";
  }

  @Override
  public boolean hasWholePositions() {
    return false;
  }

  @Override
  public double position(long position) {
    return positions.round((double) position);
  }

  private double roundedAngle(long position, int pair) {
    // A product of two such numbers is exact in float64.
    return steps.round(position(position) * steps.round((double) frequencies[pair]));
  }

  @Override
  public @Nullable BigDecimal angle(long position, int pair) {
    double angle = roundedAngle(position, pair);
    return Double.isFinite(angle) ? new BigDecimal(angle) : null;
  }

  @Override
  public ExactRotary.Row[] rows(long[] all, DType dtype) {
    PlainRounding cast = new PlainRounding(dtype);
    ExactRotary.Row[] rows = new ExactRotary.Row[all.length];
    for (int r = 0; r < rows.length; r++) {
      rows[r] = new ExactRotary.Row(new double[frequencies.length], new double[frequencies.length]);
      for (int i = 0; i < frequencies.length; i++) {
        double angle = roundedAngle(all[r], i);
        rows[r].cos()[i] = cast.round(scaled(StrictMath.cos(angle)));
        rows[r].sin()[i] = cast.round(scaled(StrictMath.sin(angle)));
      }
    }
    return rows;
  }

  private double scaled(double value) {
    return steps.round(steps.round(value) * attentionScaling);
  }
}
