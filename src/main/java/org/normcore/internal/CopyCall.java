package org.normcore.internal;

/**
 * A copy of one block of host memory to another, cut into pieces, one for each thread that is to
 * copy: what the speed of other calls is measured by, shared among threads as they are.
 */
public final class CopyCall extends RangeCall {
  /** Pieces begin at multiples of this, so that no two of them share a cache line. */
  private static final long ALIGNMENT = 4096;

  private long target;
  private long source;
  private long bytes;
  private int pieces;
  private boolean isStreaming;

  CopyCall() {}

  /** Sets all arguments: past the caches, or as the C library's {@code memcpy} sees fit. */
  public void set(long target, long source, long bytes, int pieces, boolean isStreaming) {
    this.target = target;
    this.source = source;
    this.bytes = bytes;
    this.pieces = pieces;
    this.isStreaming = isStreaming;
  }

  @Override
  int call(long begin, long end) {
    long from = edge(begin);
    long length = edge(end) - from;
    if (isStreaming) {
      Memory.copyStreaming(target + from, source + from, length);
    } else {
      Memory.copy(target + from, source + from, length);
    }
    return Capi.OK;
  }

  /** The offset at which a piece begins. */
  private long edge(long piece) {
    return piece == pieces ? bytes : bytes / pieces * piece / ALIGNMENT * ALIGNMENT;
  }
}
