package org.normcore.cli.audit;

import java.util.Optional;
import org.normcore.DType;
import org.normcore.NormKind;

/**
 * The case of the original problem report: RMSNorm of normally distributed numbers with a normally
 * distributed weight.
 */
final class BuiltInCase implements NormCaseSource {
  static final long ROWS = 1024;
  static final long HIDDEN_SIZE = 4096;
  static final double EPSILON = 1e-5;

  private final Gaussian gaussian;
  private final long rows;
  private final long hiddenSize;

  BuiltInCase(Gaussian gaussian, long rows, long hiddenSize) {
    this.gaussian = gaussian;
    this.rows = rows;
    this.hiddenSize = hiddenSize;
  }

  @Override
  public int count() {
    return 1;
  }

  @Override
  public NormCase get(int index, Arena arena) {
    return new NormCase(
        "built-in",
        NormKind.RMS_NORM,
        EPSILON,
        arena.of(gaussian.draw("weight", Arena.count(1, hiddenSize)), DType.FLOAT32, hiddenSize),
        Optional.empty(),
        arena.of(
            gaussian.draw("x", Arena.count(rows, hiddenSize)), DType.FLOAT32, rows, hiddenSize),
        true,
        Optional.empty());
  }

  @Override
  public void close() {}
}
