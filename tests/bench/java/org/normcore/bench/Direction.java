package org.normcore.bench;

/** What is computed, and what it moves: how many tensors of the input's size, two to a copy. */
enum Direction {
  /** The forward pass, with nothing saved. */
  INFERENCE(2),
  /** The forward pass, with the statistics saved. */
  FORWARD(2),
  /** {@code dx}, {@code dweight} and, in LayerNorm, {@code dbias}. */
  BACKWARD(3),
  /** The forward pass of {@code x + residual}: both are read, the sum and {@code y} are written. */
  RESIDUAL(4);

  private final int tensors;

  Direction(int tensors) {
    this.tensors = tensors;
  }

  /** How many copies of one tensor to another move as many bytes. */
  double copies() {
    return tensors / 2.0;
  }

  int tensors() {
    return tensors;
  }

  String label() {
    return Names.of(this);
  }
}
