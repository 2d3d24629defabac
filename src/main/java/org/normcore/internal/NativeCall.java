package org.normcore.internal;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.normcore.internal.capi.global.normcore;
import org.normcore.internal.capi.nc_fp8_args;
import org.normcore.internal.capi.nc_norm_backward_args;
import org.normcore.internal.capi.nc_norm_forward_args;
import org.normcore.internal.capi.nc_rotary_args;

/**
 * A call of a plan: the C structure of its operands and the call that the native side prepares, in
 * one reusable block of native memory. Choose an operation, set the operands by {@link Fields}, and
 * run the call.
 */
public final class NativeCall extends RangeCall {
  /**
   * Columns per unit of the second phase: whole cache lines of any dtype, so two ranges never write
   * to the same line.
   */
  private static final long COLUMNS = 64;

  // The block: the prepared call, its two numbers of units, the operands.
  private static final int UNITS = normcore.NC_CALL_BYTES;
  private static final int ARGS = UNITS + normcore.NC_CALL_ALIGNMENT;
  private static final int ARGS_BYTES =
      Math.max(
          Math.max(Fields.Forward.BYTES, Fields.Backward.BYTES),
          Math.max(Fields.Rotary.BYTES, Fields.Fp8.BYTES));

  private enum Operation {
    FORWARD,
    BACKWARD,
    ROTARY,
    FP8_AMAX,
    FP8_SCALE,
    FP8_QUANTIZE,
    FP8_DEQUANTIZE
  }

  private final ByteBuffer memory;
  private final Pointer prepared;
  private final LongPointer units;
  private final nc_norm_forward_args forward;
  private final nc_norm_backward_args backward;
  private final nc_rotary_args rotary;
  private final nc_fp8_args fp8;

  private Operation operation = Operation.FORWARD;
  private long plan;
  private int phase;

  NativeCall() {
    // Not a JavaCPP allocation: JavaCPP refuses to allocate in a process whose native memory is
    // large relative to its Java heap.
    memory =
        ByteBuffer.allocateDirect(ARGS + ARGS_BYTES + normcore.NC_CALL_ALIGNMENT)
            .alignedSlice(normcore.NC_CALL_ALIGNMENT)
            .order(ByteOrder.nativeOrder());
    long address = Memory.address(memory);
    prepared = Memory.pointer(address, UNITS);
    units = new LongPointer(Memory.pointer(address + UNITS, 2));
    Pointer args = Memory.pointer(address + ARGS, ARGS_BYTES);
    forward = new nc_norm_forward_args(args);
    backward = new nc_norm_backward_args(args);
    rotary = new nc_rotary_args(args);
    fp8 = new nc_fp8_args(args);
  }

  /** Begins the operands of a norm's forward; all others are absent. */
  public NativeCall forward(long plan, long rows) {
    return start(Operation.FORWARD, plan, Fields.Forward.BYTES).set(Fields.Forward.ROWS, rows);
  }

  /** Begins the operands of a norm's backward; all others are absent. */
  public NativeCall backward(long plan, long rows) {
    return start(Operation.BACKWARD, plan, Fields.Backward.BYTES).set(Fields.Backward.ROWS, rows);
  }

  /** Begins the operands of a rotation; all are absent. */
  public NativeCall rotary(long plan) {
    return start(Operation.ROTARY, plan, Fields.Rotary.BYTES);
  }

  NativeCall fp8Amax(long plan) {
    return start(Operation.FP8_AMAX, plan, Fields.Fp8.BYTES);
  }

  NativeCall fp8Scale(long plan) {
    return start(Operation.FP8_SCALE, plan, Fields.Fp8.BYTES);
  }

  NativeCall fp8Quantize(long plan) {
    return start(Operation.FP8_QUANTIZE, plan, Fields.Fp8.BYTES);
  }

  NativeCall fp8Dequantize(long plan) {
    return start(Operation.FP8_DEQUANTIZE, plan, Fields.Fp8.BYTES);
  }

  private NativeCall start(Operation operation, long plan, int bytes) {
    this.operation = operation;
    this.plan = plan;
    for (int i = 0; i < bytes; i += Long.BYTES) {
      memory.putLong(ARGS + i, 0);
    }
    // The first field of every structure is its size.
    memory.putInt(ARGS, bytes);
    return this;
  }

  /** Sets a field of 64 bits. */
  public NativeCall set(int field, long value) {
    memory.putLong(ARGS + field, value);
    return this;
  }

  /** Sets a field of 32 bits. */
  public NativeCall setInt(int field, int value) {
    memory.putInt(ARGS + field, value);
    return this;
  }

  /** Sets the address and the row stride of a matrix. */
  public NativeCall setMatrix(int field, long address, long stride) {
    return set(field, address).set(field + Long.BYTES, stride);
  }

  /** Sets the address and the strides of heads. */
  public NativeCall setHeads(
      int field, long address, long batchStride, long seqStride, long headStride) {
    return setMatrix(field, address, batchStride)
        .setMatrix(field + 2 * Long.BYTES, seqStride, headStride);
  }

  /** Runs the whole call in this thread, or enqueues it in its stream; returns the status. */
  public int run() {
    return switch (operation) {
      case FORWARD -> normcore.nc_norm_forward(plan, forward);
      case BACKWARD -> normcore.nc_norm_backward(plan, backward);
      case ROTARY -> normcore.nc_rotary_apply(plan, rotary);
      case FP8_AMAX -> normcore.nc_fp8_amax(plan, fp8);
      case FP8_SCALE -> normcore.nc_fp8_scale(plan, fp8);
      case FP8_QUANTIZE -> normcore.nc_fp8_quantize(plan, fp8);
      case FP8_DEQUANTIZE -> normcore.nc_fp8_dequantize(plan, fp8);
    };
  }

  /** Checks the call and prepares its ranges; returns the status. */
  int begin() {
    return switch (operation) {
      case FORWARD -> normcore.nc_norm_forward_begin(plan, forward, prepared, units);
      case BACKWARD -> normcore.nc_norm_backward_begin(plan, backward, prepared, units);
      case ROTARY -> normcore.nc_rotary_begin(plan, rotary, prepared, units);
      default -> throw new IllegalStateException(operation + " runs whole");
    };
  }

  /** Selects the phase whose ranges {@link #call} runs, and returns the number of its units. */
  long startPhase(int phase) {
    this.phase = phase;
    long count = memory.getLong(UNITS + phase * Long.BYTES);
    return phase == 0 ? count : (count + COLUMNS - 1) / COLUMNS;
  }

  @Override
  int call(long begin, long end) {
    if (phase == 0) {
      return normcore.nc_call_run(prepared, 0, begin, end);
    }
    long columns = memory.getLong(UNITS + Long.BYTES);
    return normcore.nc_call_run(prepared, 1, begin * COLUMNS, Math.min(end * COLUMNS, columns));
  }
}
