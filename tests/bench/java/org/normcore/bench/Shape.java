package org.normcore.bench;

/** Rows and hidden size. */
record Shape(long rows, int hiddenSize) {
  /** Parses, for example, {@code 2048x4096}. */
  static Shape parse(String text) {
    String[] sizes = text.split("x", -1);
    try {
      if (sizes.length == 2) {
        Shape shape = new Shape(Long.parseLong(sizes[0]), Integer.parseInt(sizes[1]));
        if (shape.rows > 0 && shape.hiddenSize > 0 && shape.elements() <= 1 << 28) {
          return shape;
        }
      }
    } catch (NumberFormatException e) {
      // The exception below reports it.
    }
    throw new IllegalArgumentException(
        "shape: "
            + text
            + "; expected ROWSxHIDDEN, for example 2048x4096, of at most 2^28 elements");
  }

  long elements() {
    return rows * hiddenSize;
  }

  @Override
  public String toString() {
    return rows + "x" + hiddenSize;
  }
}
