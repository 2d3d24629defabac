package org.normcore.internal;

/**
 * A copy of a range of pages of one block of host memory to another. The benchmarks compare other
 * calls with it; it is split among threads in the same way.
 */
public final class CopyCall extends RangeCall {
  private static final long PAGE = 4096;

  private long target;
  private long source;
  private long bytes;
  private boolean isStreaming;

  CopyCall() {}

  /** Sets all arguments: a copy with non-temporal stores, or the C library's {@code memcpy}. */
  public void set(long target, long source, long bytes, boolean isStreaming) {
    this.target = target;
    this.source = source;
    this.bytes = bytes;
    this.isStreaming = isStreaming;
  }

  /** Returns the number of pages. */
  public long pages() {
    return (bytes + PAGE - 1) / PAGE;
  }

  @Override
  int call(long begin, long end) {
    long first = Math.min(begin * PAGE, bytes);
    long length = Math.min(end * PAGE, bytes) - first;
    if (isStreaming) {
      Memory.copyStreaming(target + first, source + first, length);
    } else {
      Memory.copy(target + first, source + first, length);
    }
    return Capi.OK;
  }
}
