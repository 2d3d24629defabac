package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import org.jspecify.annotations.Nullable;

/** The memory space of a tensor: host memory or the memory of a CUDA device. Immutable. */
public final class Device {
  /** The kinds of device. */
  public enum Kind {
    /** Memory of the host. */
    CPU,
    /** Memory of an NVIDIA GPU. */
    CUDA
  }

  /** The memory of the host. */
  public static final Device CPU = new Device(Kind.CPU, 0);

  private final Kind kind;
  private final int index;

  private Device(Kind kind, int index) {
    this.kind = kind;
    this.index = index;
  }

  /**
   * Returns the CUDA device with the given index in the CUDA runtime's numbering. Does not check
   * that CUDA is available and the device exists; methods that use it do. See {@link Cuda}.
   *
   * @throws IllegalArgumentException if the index is negative
   */
  public static Device cuda(int index) {
    checkArgument(index >= 0, "index: %s; expected a CUDA device number of at least 0", index);
    return new Device(Kind.CUDA, index);
  }

  /** Returns the kind of device. */
  public Kind kind() {
    return kind;
  }

  /** Returns the index among the devices of its kind; 0 for the CPU. */
  public int index() {
    return index;
  }

  /** Returns whether this is the memory of the host. */
  public boolean isCpu() {
    return kind == Kind.CPU;
  }

  @Override
  public boolean equals(@Nullable Object other) {
    return other instanceof Device that && kind == that.kind && index == that.index;
  }

  @Override
  public int hashCode() {
    return kind.ordinal() * 31 + index;
  }

  /** Returns {@code cpu} or, for example, {@code cuda:0}. */
  @Override
  public String toString() {
    return kind == Kind.CPU ? "cpu" : "cuda:" + index;
  }
}
