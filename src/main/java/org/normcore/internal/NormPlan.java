package org.normcore.internal;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Fp8Scaling;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.VarianceAlgorithm;
import org.normcore.VectorLevel;
import org.normcore.internal.capi.global.normcore;
import org.normcore.internal.capi.nc_norm_spec;

/** The specification of a norm's plan: {@code nc_norm_spec}, whose every field must be set. */
public final class NormPlan {
  private final ByteBuffer memory;
  private final nc_norm_spec spec;
  private final NormKind kind;

  /** Begins the specification. */
  public NormPlan(NormKind kind, Affine affine, long hiddenSize, double epsilon) {
    this.kind = kind;
    this.memory = Memory.structure(nc_norm_spec.class);
    this.spec = new nc_norm_spec(new BytePointer(memory));
    spec.struct_size(spec.sizeof())
        .op(Codes.of(kind))
        .affine(Codes.of(affine))
        .hidden_size(hiddenSize)
        .epsilon(epsilon);
  }

  /** Sets the dtypes of x, of weight and bias, of y, and of dy. */
  public NormPlan dtypes(DType input, DType weight, DType output, DType gradient) {
    spec.x_dtype(Codes.of(input))
        .weight_dtype(Codes.of(weight))
        .y_dtype(Codes.of(output))
        .dy_dtype(Codes.of(gradient));
    return this;
  }

  /** Sets where values are rounded. RMSNorm has no variance algorithm. */
  public NormPlan policy(NormPolicy policy) {
    VarianceAlgorithm variance =
        kind == NormKind.LAYER_NORM ? policy.variance() : VarianceAlgorithm.TWO_PASS;
    spec.scale_rounding(Codes.of(policy.scaleRounding()))
        .gamma_offset(Codes.of(policy.gammaOffset()))
        .variance(Codes.of(variance))
        .compute(Codes.of(policy.compute()))
        .residual_rounding(Codes.of(policy.residualRounding()));
    return this;
  }

  /** Sets how an FP8 y is scaled; null if y is not FP8. */
  public NormPlan scaling(@Nullable Fp8Scaling scaling, boolean powerOfTwoScales) {
    spec.y_scaling(Codes.of(scaling)).y_power_of_two(powerOfTwoScales ? 1 : 0);
    return this;
  }

  /** Sets where the norm runs. */
  public NormPlan on(Device device, VectorLevel level) {
    spec.device_type(Codes.typeOf(device))
        .device_index(device.index())
        .cpu_level(Codes.of(device, level));
    return this;
  }

  /** Creates the plan and returns its handle, for {@link #destroy}. */
  public long create() {
    long[] plan = new long[1];
    Capi.check(normcore.nc_norm_plan_create(spec, plan));
    Reference.reachabilityFence(memory);
    return plan[0];
  }

  /** Frees a plan. */
  public static void destroy(long plan) {
    Capi.check(normcore.nc_norm_plan_destroy(plan));
  }
}
