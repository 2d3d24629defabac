package org.normcore.cli.safetensors;

import com.google.common.primitives.ImmutableLongArray;

/**
 * One tensor of a file, as its header describes it.
 *
 * @param name the tensor's name
 * @param type the stored type
 * @param shape the shape; empty for a scalar
 * @param begin the first byte, counted from the start of the file
 * @param end one past the last byte
 */
public record TensorEntry(
    String name, StoredType type, ImmutableLongArray shape, long begin, long end) {
  /** The number of bytes. */
  public long bytes() {
    return end - begin;
  }

  /** The number of elements. */
  public long elements() {
    return bytes() / type.bytes();
  }
}
