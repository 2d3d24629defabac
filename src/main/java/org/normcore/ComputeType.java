package org.normcore;

/**
 * The type of all arithmetic between roundings, of the saved statistics and of the sums of
 * gradients.
 */
public enum ComputeType {
  /** Single precision, as in the frameworks. The default. */
  FLOAT32(DType.FLOAT32),
  /** Double precision, for references and gradient checks. */
  FLOAT64(DType.FLOAT64);

  private final DType dtype;

  ComputeType(DType dtype) {
    this.dtype = dtype;
  }

  /** Returns the dtype of statistics computed in this type. */
  public DType dtype() {
    return dtype;
  }
}
