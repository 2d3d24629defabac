package org.normcore.internal;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import org.normcore.VectorLevel;
import org.normcore.internal.capi.global.normcore;
import org.normcore.internal.capi.nc_rotary_spec;

/** The specification of a rotary embedding's plan: {@code nc_rotary_spec}. */
public final class RotaryPlan {
  /** The largest size of a head. */
  public static final int MAX_HEAD_DIM = normcore.NC_MAX_HEAD_DIM;

  private final ByteBuffer memory;
  private final nc_rotary_spec spec;

  /** Begins the specification. */
  public RotaryPlan(int headDim, int rotaryDim) {
    this.memory = Memory.structure(nc_rotary_spec.class);
    this.spec = new nc_rotary_spec(new BytePointer(memory));
    spec.struct_size(spec.sizeof()).head_dim(headDim).rotary_dim(rotaryDim);
  }

  /** Sets the dtypes of heads and tables. */
  public RotaryPlan dtypes(DType heads, DType tables) {
    spec.x_dtype(Codes.of(heads)).table_dtype(Codes.of(tables));
    return this;
  }

  /** Sets layout and rounding of pairs. */
  public RotaryPlan pairs(RotaryLayout layout, RotaryRounding rounding) {
    spec.layout(Codes.of(layout)).rounding(Codes.of(rounding));
    return this;
  }

  /** Sets where the operation runs. */
  public RotaryPlan on(Device device, VectorLevel level) {
    spec.device_type(Codes.typeOf(device))
        .device_index(device.index())
        .cpu_level(Codes.of(device, level));
    return this;
  }

  /** Creates the plan and returns its handle, for {@link #destroy}. */
  public long create() {
    long[] plan = new long[1];
    Capi.check(normcore.nc_rotary_plan_create(spec, plan));
    Reference.reachabilityFence(memory);
    return plan[0];
  }

  /** Frees a plan. */
  public static void destroy(long plan) {
    Capi.check(normcore.nc_rotary_plan_destroy(plan));
  }
}
