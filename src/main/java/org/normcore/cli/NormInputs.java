package org.normcore.cli;

import java.io.IOException;
import java.util.Arrays;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;

/** The tensors that {@code apply} reads, by name. */
record NormInputs(
    TensorView x,
    long[] normalizedShape,
    Optional<TensorView> weight,
    Optional<TensorView> bias,
    Optional<TensorView> residual,
    Optional<TensorView> dy,
    Optional<TensorView> dresidual) {

  static NormInputs read(SafetensorsFile file, ApplyOptions options) throws IOException {
    TensorView x = file.view("x");
    if (x.rank() == 0) {
      throw new BadInput(
          options.files.in
              + ": x is a scalar, of shape [], expected at least one dimension to normalise");
    }
    int dims = options.normalizedDims;
    if (dims < 1 || dims > x.rank()) {
      throw new BadInput(
          "--normalized-dims is "
              + dims
              + ", expected 1 to "
              + x.rank()
              + ", as x has the shape "
              + Arrays.toString(x.shape()));
    }
    NormInputs inputs =
        new NormInputs(
            x,
            Arrays.copyOfRange(x.shape(), x.rank() - dims, x.rank()),
            find(file, "weight"),
            find(file, "bias"),
            find(file, "residual"),
            find(file, "dy"),
            find(file, "dresidual"));
    if (inputs.dresidual.isPresent() && inputs.dy.isEmpty()) {
      throw new BadInput(
          options.files.in + ": has dresidual but no dy, expected both for a backward");
    }
    return inputs;
  }

  private static Optional<TensorView> find(SafetensorsFile file, String name) throws IOException {
    return file.entries().containsKey(name) ? Optional.of(file.view(name)) : Optional.empty();
  }

  /** The type of weight and bias, or the input's without weight and bias. */
  DType parameterDType() {
    return weight.or(() -> bias).orElse(x).dtype();
  }
}
