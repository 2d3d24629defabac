package org.normcore.bench;

import org.normcore.DType;
import org.normcore.NormKind;

/** One line of the table: the computation of every contender. */
record Workload(
    NormKind kind, Direction direction, DType dtype, DType weightType, Shape shape, int threads) {
  boolean isLayerNorm() {
    return kind == NormKind.LAYER_NORM;
  }

  /** The bytes of one tensor of the input's size. */
  long tensorBytes() {
    return shape.elements() * dtype.bytes();
  }

  /** The minimum bytes read and written. */
  long bytes() {
    return direction.tensors() * tensorBytes();
  }

  Workload withThreads(int count) {
    return new Workload(kind, direction, dtype, weightType, shape, count);
  }

  @Override
  public String toString() {
    return Names.of(kind)
        + " "
        + direction.label()
        + " "
        + shape
        + " "
        + Names.types(dtype, weightType)
        + ", threads: "
        + threads;
  }
}
