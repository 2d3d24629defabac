package org.normcore.internal;

/**
 * A forward call on a range of rows. Fields are named as the parameters of {@code
 * nc_norm_forward_fp8}; {@code fp8} selects that function.
 */
public final class ForwardCall extends RangeCall {
  private long plan;
  private boolean fp8;
  private long rows;
  private long x;
  private long xStride;
  private long residual;
  private long residualStride;
  private long weight;
  private long bias;
  private long y;
  private long yStride;
  private long yScale;
  private long yAmax;
  private long yScaleInv;
  private long residualOut;
  private long residualOutStride;
  private long mean;
  private long rstd;

  ForwardCall() {}

  /** Sets all arguments but the range. */
  public void set(
      long plan,
      boolean fp8,
      long rows,
      long x,
      long xStride,
      long residual,
      long residualStride,
      long weight,
      long bias,
      long y,
      long yStride,
      long yScale,
      long yAmax,
      long yScaleInv,
      long residualOut,
      long residualOutStride,
      long mean,
      long rstd) {
    this.plan = plan;
    this.fp8 = fp8;
    this.rows = rows;
    this.x = x;
    this.xStride = xStride;
    this.residual = residual;
    this.residualStride = residualStride;
    this.weight = weight;
    this.bias = bias;
    this.y = y;
    this.yStride = yStride;
    this.yScale = yScale;
    this.yAmax = yAmax;
    this.yScaleInv = yScaleInv;
    this.residualOut = residualOut;
    this.residualOutStride = residualOutStride;
    this.mean = mean;
    this.rstd = rstd;
  }

  @Override
  int call(long begin, long end) {
    return Capi.forward(
        plan,
        fp8,
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
        yScale,
        yAmax,
        yScaleInv,
        residualOut,
        residualOutStride,
        mean,
        rstd);
  }
}
