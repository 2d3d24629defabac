package org.normcore.internal;

import org.jspecify.annotations.Nullable;

/**
 * What one call in flight needs, made once and used again by one call after the other: the
 * arguments of its native calls, the crew that shares the work, and the last answer to the size of
 * a backward.
 */
public final class CallFrame {
  /** The arguments of a forward. */
  public final ForwardCall forward = new ForwardCall();

  /** The arguments of a backward's first step. */
  public final BackwardCall backward = new BackwardCall();

  /** The arguments of a backward's second step. */
  public final ColumnsCall columns = new ColumnsCall();

  /** The arguments of a rotation. */
  public final RotaryCall rotary = new RotaryCall();

  /** The arguments of a copy. */
  public final CopyCall copy = new CopyCall();

  private final FramePool pool;
  private final @Nullable Crew crew;
  private final int threads;

  private final long[] answer = new long[1];
  private long sizedRows = -1;
  private boolean sizedWeight;
  private boolean sizedBias;
  private long groups;
  private long workspaceBytes;

  CallFrame(FramePool pool) {
    this.pool = pool;
    this.threads = pool.threads();
    this.crew = threads == 1 ? null : new Crew(pool.executor(), threads - 1);
  }

  /**
   * Works out row groups and workspace of a backward. The answer is kept, because the next backward
   * most likely has as many rows.
   */
  public void size(long plan, long rows, boolean wantsWeight, boolean wantsBias) {
    if (rows != sizedRows || wantsWeight != sizedWeight || wantsBias != sizedBias) {
      sizedRows = -1;
      groups = Capi.backwardGroups(plan, rows, answer);
      workspaceBytes = Capi.backwardWorkspace(plan, rows, wantsWeight, wantsBias, answer);
      sizedWeight = wantsWeight;
      sizedBias = wantsBias;
      sizedRows = rows;
    }
  }

  /** Returns the number of row groups that {@link #size} worked out. */
  public long groups() {
    return groups;
  }

  /** Returns the bytes of workspace that {@link #size} worked out. */
  public long workspaceBytes() {
    return workspaceBytes;
  }

  /**
   * Makes a call over all of its units, in several ranges and threads if it moves enough bytes for
   * that. Returns when everything is done, or nothing runs any more; a failure of any range is
   * thrown.
   */
  public void run(RangeCall call, long units, long bytes) {
    int wanted = (int) Math.min(pool.threadsFor(bytes), units);
    if (wanted == 1 || crew == null) {
      Capi.check(call.call(0, units));
    } else {
      crew.run(call, units, FramePool.grain(units, bytes), wanted);
    }
  }

  /** Hands the frame back. */
  public void release() {
    pool.put(this);
  }
}
