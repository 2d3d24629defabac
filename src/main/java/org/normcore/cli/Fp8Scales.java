package org.normcore.cli;

import java.lang.ref.Reference;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.TensorView;
import org.normcore.internal.Fp8Capi;

/** The scale of a largest magnitude. */
final class Fp8Scales {
  private Fp8Scales() {}

  /** The library's scale of an amax, without a margin. */
  static float of(DType format, float amax, boolean powerOfTwo) {
    TensorView from = ApplyResults.number(amax);
    TensorView to = ApplyResults.number(0);
    Fp8Capi.scale(Device.CPU, format.code(), 0, powerOfTwo, from.address(), to.address(), 0, 0);
    float scale = to.toFloats()[0];
    Reference.reachabilityFence(from);
    return scale;
  }
}
