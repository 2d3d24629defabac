package org.normcore.bench;

import org.bytedeco.javacpp.Pointer;
import org.normcore.internal.Memory;

/** Plain copies, a measure of the memory bandwidth. */
record CopyLibrary(String name, String version, Copies.Copy copy) implements Library {
  static final CopyLibrary MEMCPY =
      new CopyLibrary("memcpy", "the C library's", CopyLibrary::memcpy);

  /** A copy with prefetch and non-temporal stores: the upper bound. */
  static final CopyLibrary STREAMING =
      new CopyLibrary("streaming copy", "nc_copy", Memory::copyStreaming);

  @Override
  public Contender prepare(Workload workload, Tensors tensors) {
    return new Copies(copy, tensors.y(), tensors.x(), workload.threads());
  }

  private static void memcpy(long to, long from, long bytes) {
    Pointer.memcpy(Address.of(to), Address.of(from), bytes);
  }
}
