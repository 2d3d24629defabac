package org.normcore.cli.audit;

import org.normcore.DType;
import org.normcore.TensorView;

/** Random values from the usual initial distributions of models. */
final class DrawnValues implements Fp8Source {
  static final long ROWS = 1024;
  static final long COLUMNS = 1024;

  /** A distribution; a uniform one is given by its limit. */
  private enum Distribution {
    NORMAL_0_02("normal, std 0.02", 0.02, false),
    NORMAL_0_0025("normal, std 0.0025 (0.02 / sqrt(64))", 0.0025, false),
    NORMAL_1_64("normal, std 0.0156 (1 / sqrt(4096))", 1.0 / 64, false),
    UNIFORM_1_64("uniform, +-0.0156 (1 / sqrt(4096))", 1.0 / 64, true),
    NORMAL_1("normal, std 1", 1, false);

    private final String title;
    private final double size;
    private final boolean uniform;

    Distribution(String title, double size, boolean uniform) {
      this.title = title;
      this.size = size;
      this.uniform = uniform;
    }
  }

  private final Gaussian gaussian;
  private final long rows;
  private final long columns;

  DrawnValues(Gaussian gaussian, long rows, long columns) {
    this.gaussian = gaussian;
    this.rows = rows;
    this.columns = columns;
  }

  @Override
  public int count() {
    return Distribution.values().length;
  }

  @Override
  public String name(int index) {
    return Distribution.values()[index].title;
  }

  @Override
  public TensorView get(int index, Arena arena) {
    Distribution distribution = Distribution.values()[index];
    int count = Arena.count(rows, columns);
    float[] values =
        distribution.uniform
            ? gaussian.drawUniform(distribution.name(), count)
            : gaussian.draw(distribution.name(), count);
    for (int i = 0; i < count; i++) {
      values[i] = (float) (values[i] * distribution.size);
    }
    return arena.of(values, DType.FLOAT32, rows, columns);
  }

  @Override
  public void close() {}
}
