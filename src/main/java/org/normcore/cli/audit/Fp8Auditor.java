package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Fp8Parameter;
import org.normcore.Fp8Scaling;
import org.normcore.MasterWeights;
import org.normcore.TensorView;
import org.normcore.cli.DeviceTensors;
import org.normcore.cli.Progress;

/** Quantises every tensor by every method and measures the errors of the dequantised values. */
final class Fp8Auditor {
  /** Elements of a piece. */
  private static final long PIECE = 1 << 22;

  /**
   * A value above the largest FP8 value over the scale times this is saturated. The scale and the
   * quotient are rounded, so the amax itself may exceed the limit by some float32 steps.
   */
  private static final double BEYOND = 1.000001;

  private final Device device;
  private final ImmutableList<Fp8Method> methods = Fp8Method.all();

  Fp8Auditor(Device device) {
    this.device = device;
  }

  Fp8Report run(Fp8Source source, Optional<Path> model, long seed) throws IOException {
    ImmutableList.Builder<Fp8Report.Case> cases = ImmutableList.builder();
    try (Progress progress = Progress.start("audit", (long) source.count() * methods.size())) {
      for (int i = 0; i < source.count(); i++) {
        try (Arena arena = new Arena()) {
          TensorView values = source.get(i, arena);
          ImmutableMap.Builder<Fp8Method, Fp8Losses> losses = ImmutableMap.builder();
          for (Fp8Method method : methods) {
            losses.put(method, measure(values, method));
            progress.step(source.name(i));
          }
          cases.add(
              new Fp8Report.Case(source.name(i), values.size(0), values.size(1), losses.build()));
        }
      }
    }
    return new Fp8Report(model, seed, device, methods, cases.build());
  }

  private Fp8Losses measure(TensorView values, Fp8Method method) {
    try (Arena arena = new Arena();
        DeviceTensors tensors = new DeviceTensors(device);
        Fp8Parameter parameter = Fp8Parameter.quantize(tensors.input(values), method.spec())) {
      TensorView kept = arena.empty(DType.FLOAT32, values.shape());
      TensorView recovered = arena.empty(DType.FLOAT32, values.shape());
      try (MasterWeights master = parameter.masterWeights()) {
        tensors.output(kept, master.values());
        parameter.dequantize(tensors.output(recovered));
        TensorView scale = arena.empty(DType.FLOAT32, 1);
        boolean hasOneScale = method.spec().scaling() == Fp8Scaling.TENSOR;
        if (hasOneScale) {
          tensors.output(scale, parameter.scale());
        }
        tensors.fetch();
        float limit =
            hasOneScale ? largest(method.spec().format()) / scale.toFloats()[0] : Float.MAX_VALUE;
        return losses(values, kept, recovered, limit);
      }
    }
  }

  private static float largest(DType format) {
    return format == DType.FLOAT8_E4M3 ? 448 : 57_344;
  }

  /** Works in pieces: a tensor may have more elements than an array. */
  private static Fp8Losses losses(
      TensorView values, TensorView kept, TensorView recovered, float limit) {
    Fp8Losses sum = Fp8Losses.NONE;
    long step = Math.max(1, PIECE / values.size(1));
    for (long row = 0; row < values.size(0); row += step) {
      long end = Math.min(row + step, values.size(0));
      sum =
          sum.plus(
              losses(
                  values.rows(row, end).toFloats(),
                  kept.rows(row, end).toFloats(),
                  recovered.rows(row, end).toFloats(),
                  limit));
    }
    return sum;
  }

  private static Fp8Losses losses(float[] values, float[] kept, float[] recovered, float limit) {
    long nonFinite = 0;
    long zeros = 0;
    long saturated = 0;
    long nonzero = 0;
    double squaredValues = 0;
    double squaredErrors = 0;
    double relativeErrors = 0;
    double keptError = 0;
    for (int i = 0; i < values.length; i++) {
      double value = values[i];
      keptError = Math.max(keptError, keptError(values[i], kept[i]));
      if (!Double.isFinite(value)) {
        nonFinite++;
        continue;
      }
      double error = Math.abs(recovered[i] - value);
      squaredValues += value * value;
      squaredErrors += error * error;
      saturated += Math.abs(value) > limit * BEYOND ? 1 : 0;
      if (value != 0) {
        nonzero++;
        zeros += recovered[i] == 0 ? 1 : 0;
        relativeErrors += error / Math.abs(value);
      }
    }
    return new Fp8Losses(
        values.length,
        nonFinite,
        zeros,
        saturated,
        squaredValues,
        squaredErrors,
        nonzero,
        relativeErrors,
        keptError);
  }

  /** Returns 0 for equal bits, including NaN and infinity that were kept. */
  private static double keptError(float value, float kept) {
    if (Float.floatToRawIntBits(value) == Float.floatToRawIntBits(kept)) {
      return 0;
    }
    double error = Math.abs((double) kept - value);
    return Double.isNaN(error) ? Double.POSITIVE_INFINITY : error;
  }
}
