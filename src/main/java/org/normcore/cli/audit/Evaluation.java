package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.NativeBuffer;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.Operands;
import org.normcore.TensorView;
import org.normcore.cli.NormRequest;

/** A subject with all its tensors in one type, evaluated under any policy and plainly. */
final class Evaluation {
  private final Subject subject;
  private final DType dtype;
  private final int threads;
  private final TensorView x;
  private final TensorView weight;
  private final Optional<TensorView> bias;
  private final TensorView dy;

  Evaluation(Subject subject, DType dtype, Gaussian gaussian, int threads) {
    this.subject = subject;
    this.dtype = dtype;
    this.threads = threads;
    this.x = Tensors.converted(subject.x(), dtype);
    this.weight = Tensors.converted(subject.weight(), dtype);
    this.bias = subject.bias().map(b -> Tensors.converted(b, dtype));
    int count = Tensors.count(subject.rows(), subject.hiddenSize());
    this.dy = Tensors.of(gaussian.draw(subject.name() + ".dy", count), dtype, x.shape());
  }

  /** Forward and backward by the library. */
  PolicyResult under(NormPolicy policy) {
    NormRequest request =
        new NormRequest(
            subject.kind(),
            new long[] {subject.hiddenSize()},
            subject.epsilon(),
            dtype,
            dtype,
            Optional.of(dtype),
            NormRequest.affine(true, bias.isPresent()),
            policy,
            threads);
    try (Norm norm = request.open()) {
      TensorView y = Tensors.empty(dtype, x.shape());
      TensorView rstd = Tensors.empty(norm.statisticsDType(), subject.rows());
      Optional<TensorView> mean =
          subject.kind() == NormKind.LAYER_NORM
              ? Optional.of(Tensors.empty(norm.statisticsDType(), subject.rows()))
              : Optional.empty();
      norm.forward(
          Operands.of(x, y).weight(weight).bias(bias.orElse(null)), mean.orElse(null), rstd);

      TensorView dx = Tensors.empty(dtype, x.shape());
      TensorView dweight = Tensors.empty(dtype, weight.shape());
      ImmutableMap.Builder<String, TensorView> tensors = ImmutableMap.builder();
      tensors.put("y", y).put("dx", dx).put("dweight", dweight);
      Gradients gradients = Gradients.of(dx).weight(dweight, GradientMode.WRITE);
      if (bias.isPresent()) {
        TensorView dbias = Tensors.empty(dtype, weight.shape());
        gradients = gradients.bias(dbias, GradientMode.WRITE);
        tensors.put("dbias", dbias);
      }
      try (NativeBuffer workspace =
          NativeBuffer.allocate(norm.backwardWorkspaceBytes(subject.rows(), gradients))) {
        norm.backward(x, weight, mean.orElse(null), rstd, dy, gradients, workspace);
      }
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
            "y", Tensors.of(plain.forward(inputs, mean, rstd), dtype, x.shape()),
            "dx", Tensors.of(plain.inputGradient(inputs, gradients, mean, rstd), dtype, x.shape()),
            "dweight",
                Tensors.of(
                    plain.weightGradient(inputs, gradients, mean, rstd), dtype, weight.shape()));
    return new PolicyResult(tensors, statistics.mean(), statistics.rstd());
  }
}
