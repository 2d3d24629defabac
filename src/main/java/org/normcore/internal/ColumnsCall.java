package org.normcore.internal;

import org.normcore.internal.capi.global.normcore;

/**
 * The second step of a backward, on a range of blocks of columns. Fields are named as the
 * parameters of {@code nc_norm_backward_columns}.
 */
public final class ColumnsCall extends RangeCall {
  /**
   * Columns per block: whole cache lines of any dtype, so two ranges never write to the same line.
   */
  private static final long BLOCK = 64;

  private long plan;
  private long rows;
  private long columns;
  private long workspace;
  private long workspaceBytes;
  private long dweight;
  private int dweightType;
  private int dweightMode;
  private long dbias;
  private int dbiasType;
  private int dbiasMode;

  ColumnsCall() {}

  /** Sets all arguments but the range. Modes are those of the C interface. */
  public void set(
      long plan,
      long rows,
      long columns,
      long workspace,
      long workspaceBytes,
      long dweight,
      int dweightType,
      int dweightMode,
      long dbias,
      int dbiasType,
      int dbiasMode) {
    this.plan = plan;
    this.rows = rows;
    this.columns = columns;
    this.workspace = workspace;
    this.workspaceBytes = workspaceBytes;
    this.dweight = dweight;
    this.dweightType = dweightType;
    this.dweightMode = dweightMode;
    this.dbias = dbias;
    this.dbiasType = dbiasType;
    this.dbiasMode = dbiasMode;
  }

  /** Returns the number of blocks. */
  public long blocks() {
    return (columns + BLOCK - 1) / BLOCK;
  }

  @Override
  int call(long begin, long end) {
    return normcore.nc_norm_backward_columns(
        plan,
        rows,
        begin * BLOCK,
        Math.min(end * BLOCK, columns),
        workspace,
        workspaceBytes,
        dweight,
        dweightType,
        dweightMode,
        dbias,
        dbiasType,
        dbiasMode);
  }
}
