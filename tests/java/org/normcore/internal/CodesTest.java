package org.normcore.internal;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Set;
import java.util.TreeSet;
import java.util.function.ToIntFunction;
import org.junit.jupiter.api.Test;
import org.normcore.Affine;
import org.normcore.ComputeType;
import org.normcore.DType;
import org.normcore.Fp8Scaling;
import org.normcore.GammaOffset;
import org.normcore.GradientMode;
import org.normcore.NormKind;
import org.normcore.ResidualRounding;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import org.normcore.ScaleRounding;
import org.normcore.VarianceAlgorithm;
import org.normcore.VectorLevel;
import org.normcore.internal.capi.global.normcore;

/** Each constant of an enum has the number of the constant of the same name in normcore.h. */
class CodesTest {
  private static int header(String name) {
    try {
      return normcore.class.getField(name).getInt(null);
    } catch (ReflectiveOperationException e) {
      throw new AssertionError(name + " is not in normcore.h", e);
    }
  }

  private static <E extends Enum<E>> void check(
      Class<E> type, String prefix, ToIntFunction<E> code) {
    Set<Integer> seen = new TreeSet<>();
    for (E constant : type.getEnumConstants()) {
      assertEquals(header(prefix + constant.name()), code.applyAsInt(constant), constant::name);
      seen.add(code.applyAsInt(constant));
    }
    assertEquals(type.getEnumConstants().length, seen.size(), "every number once");
  }

  @Test
  void codesAreThoseOfTheHeader() {
    NativeLibrary.ensureLoaded();
    check(NormKind.class, "NC_", Codes::of);
    check(DType.class, "NC_", Codes::of);
    check(Affine.class, "NC_AFFINE_", Codes::of);
    check(ScaleRounding.class, "NC_ROUND_", Codes::of);
    check(GammaOffset.class, "NC_GAMMA_", Codes::of);
    check(VarianceAlgorithm.class, "NC_VARIANCE_", Codes::of);
    check(ComputeType.class, "NC_COMPUTE_", Codes::of);
    check(ResidualRounding.class, "NC_RESIDUAL_", Codes::of);
    check(Fp8Scaling.class, "NC_SCALING_", Codes::of);
    check(RotaryLayout.class, "NC_ROTARY_", Codes::of);
    check(RotaryRounding.class, "NC_ROTARY_ROUND_", Codes::of);
    check(VectorLevel.class, "NC_CPU_", Codes::of);
    check(GradientMode.class, "NC_GRADIENT_", Codes::of);
    assertEquals(header("NC_SCALING_NONE"), Codes.of((Fp8Scaling) null));
  }
}
