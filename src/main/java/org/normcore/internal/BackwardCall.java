package org.normcore.internal;

import org.normcore.internal.capi.global.normcore;

/**
 * The first step of a backward, on a range of row groups. Fields are named as the parameters of
 * {@code nc_norm_backward}.
 */
public final class BackwardCall extends RangeCall {
  private long plan;
  private long rows;
  private long x;
  private long xStride;
  private long weight;
  private long dy;
  private long dyStride;
  private long mean;
  private long rstd;
  private long dresidual;
  private long dresidualStride;
  private long dx;
  private long dxStride;
  private long workspace;
  private long workspaceBytes;
  private int wantsWeight;
  private int wantsBias;

  BackwardCall() {}

  /** Sets all arguments but the range. */
  public void set(
      long plan,
      long rows,
      long x,
      long xStride,
      long weight,
      long dy,
      long dyStride,
      long mean,
      long rstd,
      long dresidual,
      long dresidualStride,
      long dx,
      long dxStride,
      long workspace,
      long workspaceBytes,
      boolean wantsWeight,
      boolean wantsBias) {
    this.plan = plan;
    this.rows = rows;
    this.x = x;
    this.xStride = xStride;
    this.weight = weight;
    this.dy = dy;
    this.dyStride = dyStride;
    this.mean = mean;
    this.rstd = rstd;
    this.dresidual = dresidual;
    this.dresidualStride = dresidualStride;
    this.dx = dx;
    this.dxStride = dxStride;
    this.workspace = workspace;
    this.workspaceBytes = workspaceBytes;
    this.wantsWeight = wantsWeight ? 1 : 0;
    this.wantsBias = wantsBias ? 1 : 0;
  }

  @Override
  int call(long begin, long end) {
    return normcore.nc_norm_backward(
        plan,
        rows,
        begin,
        end,
        x,
        xStride,
        weight,
        dy,
        dyStride,
        mean,
        rstd,
        dresidual,
        dresidualStride,
        dx,
        dxStride,
        workspace,
        workspaceBytes,
        wantsWeight,
        wantsBias);
  }
}
