package org.normcore.cli.bench;

import java.util.Optional;
import org.normcore.NormKind;

/** The operations to measure. */
public enum BenchOp {
  RMS_NORM(NormKind.RMS_NORM),
  LAYER_NORM(NormKind.LAYER_NORM),
  ROTARY(null),
  FP8(null);

  private final NormKind kind;

  BenchOp(NormKind kind) {
    this.kind = kind;
  }

  static BenchOp of(NormKind kind) {
    return kind == NormKind.RMS_NORM ? RMS_NORM : LAYER_NORM;
  }

  /** Whether its calls use several threads on the CPU. */
  boolean isShared() {
    return this != FP8;
  }

  /** The kind of norm, if the operation is a norm. */
  Optional<NormKind> norm() {
    return Optional.ofNullable(kind);
  }
}
