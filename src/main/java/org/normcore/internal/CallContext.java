package org.normcore.internal;

import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.capi.global.normcore;

/**
 * The reusable state of one call: its native call, its parallel-for, and the cached workspace size
 * of a backward.
 */
public final class CallContext {
  /** A call of a plan. */
  public final NativeCall call = new NativeCall();

  /** The arguments of a copy. */
  public final CopyCall copy = new CopyCall();

  private @Nullable Object state;
  private boolean started;
  private final CallContextPool pool;
  private final @Nullable ParallelFor parallelFor;
  private final int threads;

  private final long[] answer = new long[1];
  private long sizedRows = -1;
  private boolean sizedWeight;
  private boolean sizedBias;
  private long groups;
  private long workspaceBytes;

  CallContext(CallContextPool pool) {
    this.pool = pool;
    this.threads = pool.threads();
    this.parallelFor = threads == 1 ? null : new ParallelFor(pool.executor(), threads - 1);
  }

  /**
   * Computes the row groups and workspace bytes of a backward. The result is cached, because the
   * next backward most likely has the same number of rows.
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

  /** Returns the number of row groups that {@link #size} computed. */
  public long groups() {
    return groups;
  }

  /** Returns the bytes of workspace that {@link #size} computed. */
  public long workspaceBytes() {
    return workspaceBytes;
  }

  /**
   * Runs the native call, in several threads if it moves enough bytes. Throws its failure.
   *
   * @param bytes what the first phase moves
   * @param columnBytes what the second phase moves: the columns of a backward
   */
  public void run(long bytes, long columnBytes) {
    started = false;
    if (parallelFor == null || pool.threadsFor(Math.max(bytes, columnBytes)) == 1) {
      int status = call.run();
      started = status != normcore.NC_INVALID_ARGUMENT;
      Capi.check(status);
      return;
    }
    Capi.check(call.begin());
    started = true;
    for (int phase = 0; phase < 2; phase++) {
      long units = call.startPhase(phase);
      if (units > 0) {
        run(call, units, phase == 0 ? bytes : columnBytes);
      }
    }
  }

  /**
   * Runs a call over all of its units, in several ranges and threads if it moves enough bytes.
   * Returns when all ranges are done. If a range fails, throws its failure once no range is
   * running.
   */
  public void run(RangeCall call, long units, long bytes) {
    int wanted = (int) Math.min(pool.threadsFor(bytes), units);
    if (wanted == 1 || parallelFor == null) {
      Capi.check(call.call(0, units));
    } else {
      parallelFor.run(call, units, CallContextPool.grain(units, bytes), wanted);
    }
  }

  /**
   * Returns whether the last {@link #run(long, long)} may have written something: not if the native
   * side has refused the operands.
   */
  public boolean started() {
    return started;
  }

  /** Returns the caller's own state of a call, made on the first use of this context. */
  @SuppressWarnings("unchecked")
  public <T> T state(Supplier<T> make) {
    if (state == null) {
      state = make.get();
    }
    return (T) state;
  }

  /** Returns the context to its pool. */
  public void release() {
    pool.put(this);
  }
}
