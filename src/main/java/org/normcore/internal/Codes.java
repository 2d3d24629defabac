package org.normcore.internal;

import org.jspecify.annotations.Nullable;
import org.normcore.Affine;
import org.normcore.ComputeType;
import org.normcore.DType;
import org.normcore.Device;
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

/**
 * The numbers of the C interface for the constants of the Java interface. The order of an enum's
 * constants is free to change.
 */
public final class Codes {
  private Codes() {}

  /** {@code NC_RMS_NORM}, {@code NC_LAYER_NORM}. */
  public static int of(NormKind kind) {
    return switch (kind) {
      case RMS_NORM -> normcore.NC_RMS_NORM;
      case LAYER_NORM -> normcore.NC_LAYER_NORM;
    };
  }

  /** {@code NC_FLOAT64}, .. */
  public static int of(DType dtype) {
    return switch (dtype) {
      case FLOAT64 -> normcore.NC_FLOAT64;
      case FLOAT32 -> normcore.NC_FLOAT32;
      case BFLOAT16 -> normcore.NC_BFLOAT16;
      case FLOAT16 -> normcore.NC_FLOAT16;
      case FLOAT8_E4M3 -> normcore.NC_FLOAT8_E4M3;
      case FLOAT8_E5M2 -> normcore.NC_FLOAT8_E5M2;
      case FLOAT8_E8M0 -> normcore.NC_FLOAT8_E8M0;
    };
  }

  /** {@code NC_AFFINE_NONE}, .. */
  public static int of(Affine affine) {
    return switch (affine) {
      case NONE -> normcore.NC_AFFINE_NONE;
      case WEIGHT -> normcore.NC_AFFINE_WEIGHT;
      case BIAS -> normcore.NC_AFFINE_BIAS;
      case WEIGHT_AND_BIAS -> normcore.NC_AFFINE_WEIGHT_AND_BIAS;
    };
  }

  /** {@code NC_ROUND_COMPUTE}, .. */
  public static int of(ScaleRounding rounding) {
    return switch (rounding) {
      case COMPUTE -> normcore.NC_ROUND_COMPUTE;
      case INPUT -> normcore.NC_ROUND_INPUT;
      case WEIGHT -> normcore.NC_ROUND_WEIGHT;
    };
  }

  /** {@code NC_GAMMA_NONE}, .. */
  public static int of(GammaOffset offset) {
    return switch (offset) {
      case NONE -> normcore.NC_GAMMA_NONE;
      case ONE_IN_COMPUTE -> normcore.NC_GAMMA_ONE_IN_COMPUTE;
      case ONE_IN_WEIGHT -> normcore.NC_GAMMA_ONE_IN_WEIGHT;
    };
  }

  /** {@code NC_VARIANCE_TWO_PASS}, .. */
  public static int of(VarianceAlgorithm variance) {
    return switch (variance) {
      case TWO_PASS -> normcore.NC_VARIANCE_TWO_PASS;
      case WELFORD -> normcore.NC_VARIANCE_WELFORD;
      case SUM_OF_SQUARES -> normcore.NC_VARIANCE_SUM_OF_SQUARES;
    };
  }

  /** {@code NC_COMPUTE_FLOAT32}, {@code NC_COMPUTE_FLOAT64}. */
  public static int of(ComputeType compute) {
    return switch (compute) {
      case FLOAT32 -> normcore.NC_COMPUTE_FLOAT32;
      case FLOAT64 -> normcore.NC_COMPUTE_FLOAT64;
    };
  }

  /** {@code NC_RESIDUAL_INPUT}, {@code NC_RESIDUAL_COMPUTE}. */
  public static int of(ResidualRounding rounding) {
    return switch (rounding) {
      case INPUT -> normcore.NC_RESIDUAL_INPUT;
      case COMPUTE -> normcore.NC_RESIDUAL_COMPUTE;
    };
  }

  /** {@code NC_SCALING_NONE} for null, {@code NC_SCALING_TENSOR}, .. */
  public static int of(@Nullable Fp8Scaling scaling) {
    if (scaling == null) {
      return normcore.NC_SCALING_NONE;
    }
    return switch (scaling) {
      case TENSOR -> normcore.NC_SCALING_TENSOR;
      case ROW -> normcore.NC_SCALING_ROW;
      case BLOCK -> normcore.NC_SCALING_BLOCK;
    };
  }

  /** {@code NC_ROTARY_HALF_SPLIT}, {@code NC_ROTARY_INTERLEAVED}. */
  public static int of(RotaryLayout layout) {
    return switch (layout) {
      case HALF_SPLIT -> normcore.NC_ROTARY_HALF_SPLIT;
      case INTERLEAVED -> normcore.NC_ROTARY_INTERLEAVED;
    };
  }

  /** {@code NC_ROTARY_ROUND_COMPUTE}, {@code NC_ROTARY_ROUND_INPUT}. */
  public static int of(RotaryRounding rounding) {
    return switch (rounding) {
      case COMPUTE -> normcore.NC_ROTARY_ROUND_COMPUTE;
      case INPUT -> normcore.NC_ROTARY_ROUND_INPUT;
    };
  }

  /** {@code NC_CPU_BEST}, .. */
  public static int of(VectorLevel level) {
    return switch (level) {
      case BEST -> normcore.NC_CPU_BEST;
      case PLAIN -> normcore.NC_CPU_PLAIN;
      case AVX2 -> normcore.NC_CPU_AVX2;
      case AVX512 -> normcore.NC_CPU_AVX512;
      case NEON -> normcore.NC_CPU_NEON;
    };
  }

  /** {@code NC_GRADIENT_WRITE}, {@code NC_GRADIENT_ACCUMULATE}. */
  public static int of(GradientMode mode) {
    return switch (mode) {
      case WRITE -> normcore.NC_GRADIENT_WRITE;
      case ACCUMULATE -> normcore.NC_GRADIENT_ACCUMULATE;
    };
  }

  /** {@code NC_DEVICE_CPU}, {@code NC_DEVICE_CUDA}. */
  static int typeOf(Device device) {
    return device.isCpu() ? normcore.NC_DEVICE_CPU : normcore.NC_DEVICE_CUDA;
  }

  /** The code of the level of a plan: the library accepts only the best one for CUDA. */
  static int of(Device device, VectorLevel level) {
    return of(device.isCpu() ? level : VectorLevel.BEST);
  }
}
