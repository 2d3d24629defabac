package org.normcore.cli.safetensors;

import com.google.common.collect.ImmutableMap;
import java.io.IOException;
import org.normcore.TensorView;

/** Named tensors on disk: one file, or the files of a model. */
public interface TensorSource extends AutoCloseable {
  /** Every tensor, by name. */
  ImmutableMap<String, TensorEntry> entries();

  /**
   * A read-only view of a tensor's elements. It stays valid after {@link #close()}.
   *
   * @throws IllegalArgumentException if the tensor does not exist or its type is not a {@link
   *     org.normcore.DType}
   */
  TensorView view(String name) throws IOException;

  @Override
  void close() throws IOException;
}
