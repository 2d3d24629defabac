package org.normcore.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.normcore.internal.capi.global.normcore;
import org.normcore.internal.capi.nc_fp8_args;
import org.normcore.internal.capi.nc_norm_backward_args;
import org.normcore.internal.capi.nc_norm_forward_args;
import org.normcore.internal.capi.nc_rotary_args;

/** The fields of operands are where the compiled structures have them. */
class NativeCallTest {
  /** A structure in which the field at a byte has the value of that byte's index plus 1. */
  private static final class Numbered {
    private final ByteBuffer memory;
    private final Pointer pointer;

    Numbered(int bytes, int... narrow) {
      memory = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
      for (int i = 0; i < bytes; i += Long.BYTES) {
        memory.putLong(i, i + 1);
      }
      for (int field : narrow) {
        memory.putInt(field, field + 1);
      }
      pointer = Memory.pointer(Memory.address(memory), bytes);
    }

    void assertFields(int[] fields, LongSupplier... getters) {
      assertEquals(getters.length, fields.length);
      for (int i = 0; i < fields.length; i++) {
        assertEquals(fields[i] + 1, getters[i].getAsLong(), "field " + i);
      }
      assertEquals(fields.length, IntStream.of(fields).distinct().count());
      Reference.reachabilityFence(memory);
    }
  }

  private static int[] offsets(int... fields) {
    return fields;
  }

  @Test
  void fieldsOfForward() {
    Numbered numbered = new Numbered(Fields.Forward.BYTES);
    nc_norm_forward_args args = new nc_norm_forward_args(numbered.pointer);
    numbered.assertFields(
        offsets(
            Fields.Forward.ROWS,
            Fields.Forward.X,
            Fields.Forward.X + 8,
            Fields.Forward.RESIDUAL,
            Fields.Forward.RESIDUAL + 8,
            Fields.Forward.WEIGHT,
            Fields.Forward.BIAS,
            Fields.Forward.Y,
            Fields.Forward.Y + 8,
            Fields.Forward.RESIDUAL_OUT,
            Fields.Forward.RESIDUAL_OUT + 8,
            Fields.Forward.MEAN,
            Fields.Forward.RSTD,
            Fields.Forward.Y_SCALE,
            Fields.Forward.Y_AMAX,
            Fields.Forward.Y_SCALE_INV,
            Fields.Forward.STREAM),
        args::rows,
        args::x,
        args::x_stride,
        args::residual,
        args::residual_stride,
        args::weight,
        args::bias,
        args::y,
        args::y_stride,
        args::residual_out,
        args::residual_out_stride,
        args::mean,
        args::rstd,
        args::y_scale,
        args::y_amax,
        args::y_scale_inv,
        args::stream);
  }

  @Test
  void fieldsOfBackward() {
    int[] narrow = {
      Fields.Backward.DWEIGHT_DTYPE,
      Fields.Backward.DWEIGHT_MODE,
      Fields.Backward.DBIAS_DTYPE,
      Fields.Backward.DBIAS_MODE
    };
    Numbered numbered = new Numbered(Fields.Backward.BYTES, narrow);
    nc_norm_backward_args args = new nc_norm_backward_args(numbered.pointer);
    numbered.assertFields(
        narrow, args::dweight_dtype, args::dweight_mode, args::dbias_dtype, args::dbias_mode);
    numbered.assertFields(
        offsets(
            Fields.Backward.ROWS,
            Fields.Backward.X,
            Fields.Backward.X + 8,
            Fields.Backward.WEIGHT,
            Fields.Backward.DY,
            Fields.Backward.DY + 8,
            Fields.Backward.MEAN,
            Fields.Backward.RSTD,
            Fields.Backward.DRESIDUAL,
            Fields.Backward.DRESIDUAL + 8,
            Fields.Backward.DX,
            Fields.Backward.DX + 8,
            Fields.Backward.WORKSPACE,
            Fields.Backward.WORKSPACE_BYTES,
            Fields.Backward.DWEIGHT,
            Fields.Backward.DBIAS,
            Fields.Backward.STREAM),
        args::rows,
        args::x,
        args::x_stride,
        args::weight,
        args::dy,
        args::dy_stride,
        args::mean,
        args::rstd,
        args::dresidual,
        args::dresidual_stride,
        args::dx,
        args::dx_stride,
        args::workspace,
        args::workspace_bytes,
        args::dweight,
        args::dbias,
        args::stream);
  }

  @Test
  void fieldsOfRotary() {
    Numbered numbered = new Numbered(Fields.Rotary.BYTES, Fields.Rotary.BACKWARD);
    nc_rotary_args args = new nc_rotary_args(numbered.pointer);
    numbered.assertFields(
        offsets(
            Fields.Rotary.BACKWARD,
            Fields.Rotary.BATCH,
            Fields.Rotary.SEQ,
            Fields.Rotary.HEADS,
            Fields.Rotary.X,
            Fields.Rotary.X + 8,
            Fields.Rotary.X + 16,
            Fields.Rotary.X + 24,
            Fields.Rotary.COS,
            Fields.Rotary.SIN,
            Fields.Rotary.TABLE_BATCH_ROWS,
            Fields.Rotary.Y,
            Fields.Rotary.Y + 8,
            Fields.Rotary.Y + 16,
            Fields.Rotary.Y + 24,
            Fields.Rotary.STREAM),
        args::backward,
        args::batch,
        args::seq,
        args::heads,
        args::x,
        args::x_batch_stride,
        args::x_seq_stride,
        args::x_head_stride,
        args::cos,
        args::sin,
        args::table_batch_rows,
        args::y,
        args::y_batch_stride,
        args::y_seq_stride,
        args::y_head_stride,
        args::stream);
  }

  @Test
  void fieldsOfFp8() {
    Numbered numbered = new Numbered(Fields.Fp8.BYTES);
    nc_fp8_args args = new nc_fp8_args(numbered.pointer);
    numbered.assertFields(
        offsets(
            Fields.Fp8.ROWS,
            Fields.Fp8.COLUMNS,
            Fields.Fp8.COUNT,
            Fields.Fp8.X,
            Fields.Fp8.X + 8,
            Fields.Fp8.Q,
            Fields.Fp8.Q + 8,
            Fields.Fp8.Y,
            Fields.Fp8.Y + 8,
            Fields.Fp8.AMAX,
            Fields.Fp8.SCALE,
            Fields.Fp8.SCALE_INV,
            Fields.Fp8.STREAM),
        args::rows,
        args::columns,
        args::count,
        args::x,
        args::x_stride,
        args::q,
        args::q_stride,
        args::y,
        args::y_stride,
        args::amax,
        args::scale,
        args::scale_inv,
        args::stream);
  }

  /** A call that the native side refuses, and one that was never begun. */
  @Test
  void refusals() {
    CallContext context = new CallContextPool(1, Runnable::run).take();
    NativeCall call = context.call.forward(0, 3);
    assertEquals(normcore.NC_INVALID_ARGUMENT, call.run());
    assertTrue(Capi.lastError().startsWith("plan: 0"), Capi.lastError());
    assertEquals(normcore.NC_INVALID_ARGUMENT, call.begin());
    assertEquals(0, call.startPhase(0));
    assertEquals(normcore.NC_INVALID_ARGUMENT, call.call(0, 1));
    assertTrue(Capi.lastError().startsWith("call: "), Capi.lastError());
    for (NativeCall whole : List.of(context.call.fp8Amax(0), context.call.fp8Quantize(0))) {
      assertThrows(IllegalStateException.class, whole::begin);
    }
    context.release();
  }
}
