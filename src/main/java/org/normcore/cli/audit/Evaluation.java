package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.TensorView;
import org.normcore.cli.DeviceTensors;
import org.normcore.cli.NormRequest;

/** Evaluates a norm with all tensors in one type, under a policy or by {@link PlainHuggingFace}. */
final class Evaluation {
  private final NormCase normCase;
  private final DType dtype;
  private final Device device;
  private final int threads;
  private final Arena arena;
  private final TensorView x;
  private final TensorView weight;
  private final Optional<TensorView> bias;
  private final TensorView dy;

  Evaluation(
      NormCase normCase, DType dtype, Gaussian gaussian, Device device, int threads, Arena arena) {
    this.normCase = normCase;
    this.dtype = dtype;
    this.device = device;
    this.threads = threads;
    this.arena = arena;
    this.x = arena.converted(normCase.x(), dtype);
    this.weight = arena.converted(normCase.weight(), dtype);
    this.bias = normCase.bias().map(b -> arena.converted(b, dtype));
    int count = Arena.count(normCase.rows(), normCase.hiddenSize());
    this.dy = arena.of(gaussian.draw(normCase.name() + ".dy", count), dtype, x.shape());
  }

  /** Forward and backward by the library. */
  PolicyResult under(NormPolicy policy) {
    NormRequest request =
        new NormRequest(
            normCase.kind(),
            new long[] {normCase.hiddenSize()},
            normCase.epsilon(),
            dtype,
            dtype,
            Optional.of(dtype),
            NormRequest.affine(true, bias.isPresent()),
            policy,
            device,
            threads);
    try (Norm norm = request.open();
        DeviceTensors there = new DeviceTensors(device)) {
      TensorView y = arena.empty(dtype, x.shape());
      TensorView rstd = arena.empty(norm.statisticsDType(), normCase.rows());
      Optional<TensorView> mean =
          normCase.kind() == NormKind.LAYER_NORM
              ? Optional.of(arena.empty(norm.statisticsDType(), normCase.rows()))
              : Optional.empty();
      TensorView xThere = there.input(x);
      TensorView weightThere = there.input(weight);
      TensorView rstdThere = there.output(rstd);
      TensorView meanThere = mean.map(there::output).orElse(null);
      norm.forward(
          Operands.of(xThere, there.output(y))
              .weight(weightThere)
              .bias(bias.map(there::input).orElse(null)),
          meanThere,
          rstdThere);

      TensorView dx = arena.empty(dtype, x.shape());
      TensorView dweight = arena.empty(dtype, weight.shape());
      ImmutableMap.Builder<String, TensorView> tensors = ImmutableMap.builder();
      tensors.put("y", y).put("dx", dx).put("dweight", dweight);
      Gradients gradients =
          Gradients.of(there.output(dx)).weight(there.output(dweight), GradientMode.WRITE);
      if (bias.isPresent()) {
        TensorView dbias = arena.empty(dtype, weight.shape());
        gradients = gradients.bias(there.output(dbias), GradientMode.WRITE);
        tensors.put("dbias", dbias);
      }
      norm.backward(
          xThere,
          weightThere,
          meanThere,
          rstdThere,
          there.input(dy),
          gradients,
          there.workspace(norm.backwardWorkspaceBytes(normCase.rows(), gradients)));
      there.fetch();
      return new PolicyResult(tensors.buildOrThrow(), mean, rstd);
    }
  }

  /** Forward and backward by {@link PlainHuggingFace}, with the statistics of another result. */
  PolicyResult plainly(PolicyResult statistics) {
    PlainHuggingFace plain = new PlainHuggingFace(dtype, weight, bias);
    float[] inputs = x.toFloats();
    float[] gradients = dy.toFloats();
    Optional<float[]> mean = statistics.mean().map(TensorView::toFloats);
    float[] rstd = statistics.rstd().toFloats();
    ImmutableMap<String, TensorView> tensors =
        ImmutableMap.of(
            "y", arena.of(plain.forward(inputs, mean, rstd), dtype, x.shape()),
            "dx", arena.of(plain.inputGradient(inputs, gradients, mean, rstd), dtype, x.shape()),
            "dweight",
                arena.of(
                    plain.weightGradient(inputs, gradients, mean, rstd), dtype, weight.shape()));
    return new PolicyResult(tensors, statistics.mean(), statistics.rstd());
  }
}
