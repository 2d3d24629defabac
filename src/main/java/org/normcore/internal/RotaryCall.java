package org.normcore.internal;

import org.normcore.internal.capi.global.normcore;

/**
 * A rotation of a range of tokens. Fields are named as the parameters of {@code nc_rotary_apply}.
 */
public final class RotaryCall extends RangeCall {
  private long plan;
  private int backward;
  private long batch;
  private long seq;
  private long heads;
  private long x;
  private long xBatchStride;
  private long xSeqStride;
  private long xHeadStride;
  private long cos;
  private long sin;
  private long tableBatchRows;
  private long y;
  private long yBatchStride;
  private long ySeqStride;
  private long yHeadStride;

  RotaryCall() {}

  /** Sets all arguments but the range. */
  public void set(
      long plan,
      boolean backward,
      long batch,
      long seq,
      long heads,
      long x,
      long xBatchStride,
      long xSeqStride,
      long xHeadStride,
      long cos,
      long sin,
      long tableBatchRows,
      long y,
      long yBatchStride,
      long ySeqStride,
      long yHeadStride) {
    this.plan = plan;
    this.backward = backward ? 1 : 0;
    this.batch = batch;
    this.seq = seq;
    this.heads = heads;
    this.x = x;
    this.xBatchStride = xBatchStride;
    this.xSeqStride = xSeqStride;
    this.xHeadStride = xHeadStride;
    this.cos = cos;
    this.sin = sin;
    this.tableBatchRows = tableBatchRows;
    this.y = y;
    this.yBatchStride = yBatchStride;
    this.ySeqStride = ySeqStride;
    this.yHeadStride = yHeadStride;
  }

  @Override
  int call(long begin, long end) {
    return normcore.nc_rotary_apply(
        plan,
        backward,
        batch,
        seq,
        heads,
        begin,
        end,
        x,
        xBatchStride,
        xSeqStride,
        xHeadStride,
        cos,
        sin,
        tableBatchRows,
        y,
        yBatchStride,
        ySeqStride,
        yHeadStride);
  }
}
