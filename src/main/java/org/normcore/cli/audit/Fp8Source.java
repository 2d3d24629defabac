package org.normcore.cli.audit;

import java.io.IOException;
import org.normcore.TensorView;

/** The initial tensors of a model, one at a time. */
interface Fp8Source extends AutoCloseable {
  /** The number of tensors. */
  int count();

  /** The name of a tensor. */
  String name(int index);

  /** A tensor in float32, bfloat16 or float16, as a contiguous matrix. */
  TensorView get(int index, Arena arena) throws IOException;

  @Override
  void close() throws IOException;
}
