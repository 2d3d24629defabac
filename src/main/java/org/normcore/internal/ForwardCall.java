package org.normcore.internal;

import org.normcore.internal.capi.global.normcore;

/**
 * A forward call on a range of rows. Fields are named as the parameters of {@code nc_norm_forward}.
 */
public final class ForwardCall extends RangeCall {
  private long plan;
  private long rows;
  private long x;
  private long xStride;
  private long residual;
  private long residualStride;
  private long weight;
  private long bias;
  private long y;
  private long yStride;
  private long residualOut;
  private long residualOutStride;
  private long mean;
  private long rstd;

  ForwardCall() {}

  /** Sets all arguments but the range. */
  public void set(
      long plan,
      long rows,
      long x,
      long xStride,
      long residual,
      long residualStride,
      long weight,
      long bias,
      long y,
      long yStride,
      long residualOut,
      long residualOutStride,
      long mean,
      long rstd) {
    this.plan = plan;
    this.rows = rows;
    this.x = x;
    this.xStride = xStride;
    this.residual = residual;
    this.residualStride = residualStride;
    this.weight = weight;
    this.bias = bias;
    this.y = y;
    this.yStride = yStride;
    this.residualOut = residualOut;
    this.residualOutStride = residualOutStride;
    this.mean = mean;
    this.rstd = rstd;
  }

  @Override
  int call(long begin, long end) {
    return normcore.nc_norm_forward(
        plan,
        rows,
        begin,
        end,
        x,
        xStride,
        residual,
        residualStride,
        weight,
        bias,
        y,
        yStride,
        residualOut,
        residualOutStride,
        mean,
        rstd);
  }
}
