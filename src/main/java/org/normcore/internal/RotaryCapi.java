package org.normcore.internal;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Loader;
import org.normcore.internal.capi.global.normcore;
import org.normcore.internal.capi.nc_rotary_spec;

/**
 * The plans of the rotary part of the C interface; {@link NativeCall} has the calls. Statuses
 * become exceptions.
 */
public final class RotaryCapi {
  /** The largest size of a head. */
  public static final int MAX_HEAD_DIM = normcore.NC_MAX_HEAD_DIM;

  private RotaryCapi() {}

  /** Returns the handle of a new plan. */
  public static long createPlan(
      int dtype,
      int tableType,
      int layout,
      int rounding,
      int headDim,
      int rotaryDim,
      int cpuLevel,
      int deviceType,
      int deviceIndex) {
    NativeLibrary.ensureLoaded();
    ByteBuffer memory =
        ByteBuffer.allocateDirect(Loader.sizeof(nc_rotary_spec.class))
            .order(ByteOrder.nativeOrder());
    try (nc_rotary_spec spec = new nc_rotary_spec(new BytePointer(memory))) {
      spec.struct_size(spec.sizeof())
          .x_dtype(dtype)
          .table_dtype(tableType)
          .layout(layout)
          .rounding(rounding)
          .head_dim(headDim)
          .rotary_dim(rotaryDim)
          .cpu_level(cpuLevel)
          .device_type(deviceType)
          .device_index(deviceIndex);
      long[] plan = new long[1];
      Capi.check(normcore.nc_rotary_plan_create(spec, plan));
      return plan[0];
    } finally {
      Reference.reachabilityFence(memory);
    }
  }

  /** Frees a plan. */
  public static void destroyPlan(long plan) {
    Capi.check(normcore.nc_rotary_plan_destroy(plan));
  }
}
