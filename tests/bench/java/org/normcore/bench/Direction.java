package org.normcore.bench;

/** A computation and its memory traffic, in tensors of the input's size; a copy moves two. */
enum Direction {
  /** The forward pass without saved statistics. */
  INFERENCE(2),
  /** The forward pass with saved statistics. */
  FORWARD(2),
  /** {@code dx}, {@code dweight} and, in LayerNorm, {@code dbias}. */
  BACKWARD(3),
  /** The forward pass of {@code x + residual}: reads both, writes the sum and {@code y}. */
  RESIDUAL(4);

  private final int tensors;

  Direction(int tensors) {
    this.tensors = tensors;
  }

  /** The number of tensor copies that move the same number of bytes. */
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
