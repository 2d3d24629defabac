package org.normcore.internal;

/**
 * A copy of a range of pages of one block of host memory to another: what the speed of other calls
 * is measured by, shared among threads as they are.
 */
public final class CopyCall extends RangeCall {
  private static final long PAGE = 4096;

  private long target;
  private long source;
  private long bytes;
  private boolean isStreaming;

  CopyCall() {}

  /** Sets all arguments: past the caches, or as the C library's {@code memcpy} sees fit. */
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
