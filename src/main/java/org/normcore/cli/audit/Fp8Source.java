package org.normcore.cli.audit;

import java.io.IOException;
import org.normcore.TensorView;

/** Tensors that start a model, one after the other. */
interface Fp8Source extends AutoCloseable {
  /** How many there are. */
  int count();

  /** What one is called. */
  String name(int index);

  /** One in float32, bfloat16 or float16, contiguous, as a matrix. */
  TensorView get(int index, Arena arena) throws IOException;

  @Override
  void close() throws IOException;
}
