package org.normcore.cli;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.Operands;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;

/** One run of a norm on the tensors of a file: reads, computes, compares, then writes. */
final class NormApplication {
  private final Context context;
  private final NormKind kind;
  private final ApplyOptions options;
  private final ApplyResults results;

  NormApplication(Context context, NormKind kind, ApplyOptions options) {
    this.context = context;
    this.kind = kind;
    this.options = options;
    this.results = new ApplyResults(options.files, options.expectation);
  }

  int run() throws IOException {
    Fp8Output output = Fp8Output.of(options);
    try (SafetensorsFile file = SafetensorsFile.open(options.files.in)) {
      NormInputs inputs = NormInputs.read(file, options);
      Norm.Builder<?> builder = request(inputs).builder();
      output.addTo(builder, inputs.dy().map(TensorView::dtype));
      try (Norm norm = builder.build();
          DeviceTensors tensors = new DeviceTensors(context.device())) {
        compute(norm, inputs, tensors, output);
        results.finish();
        report(norm, output);
        return results.status();
      }
    }
  }

  private NormRequest request(NormInputs inputs) {
    return new NormRequest(
        kind,
        inputs.normalizedShape(),
        options.epsilon,
        inputs.x().dtype(),
        inputs.parameterDType(),
        Optional.ofNullable(options.outputDType),
        NormRequest.affine(inputs.weight().isPresent(), inputs.bias().isPresent()),
        options.policy.policy(kind),
        context.device(),
        context.threads());
  }

  private void compute(Norm norm, NormInputs inputs, DeviceTensors tensors, Fp8Output output) {
    TensorView x = tensors.input(inputs.x());
    TensorView weight = inputs.weight().map(tensors::input).orElse(null);
    TensorView bias = inputs.bias().map(tensors::input).orElse(null);
    long[] statisticsShape = Arrays.copyOf(x.shape(), x.rank() - options.normalizedDims);
    TensorView y = output(tensors, "y", norm.outputDType(), x.shape());
    TensorView rstd = output(tensors, "rstd", norm.statisticsDType(), statisticsShape);
    TensorView mean =
        kind == NormKind.LAYER_NORM
            ? output(tensors, "mean", norm.statisticsDType(), statisticsShape)
            : null;

    Operands operands = Operands.of(x, y).weight(weight).bias(bias);
    TensorView normalised = x;
    if (inputs.residual().isPresent()) {
      normalised = output(tensors, "residual_out", x.dtype(), x.shape());
      operands = operands.residual(tensors.input(inputs.residual().get()), normalised);
    }
    operands = output.scales(norm, operands, statisticsShape, results, tensors);
    norm.forward(operands, mean, rstd);
    if (inputs.dy().isPresent()) {
      Gradients gradients = gradients(norm, inputs, tensors);
      long rows = x.rows(options.normalizedDims);
      norm.backward(
          normalised,
          weight,
          mean,
          rstd,
          tensors.input(inputs.dy().get()),
          gradients,
          tensors.workspace(norm.backwardWorkspaceBytes(rows, gradients)));
    }
    tensors.fetch();
  }

  private Gradients gradients(Norm norm, NormInputs inputs, DeviceTensors tensors) {
    DType dtype = Optional.ofNullable(options.gradDType).orElse(norm.weightDType());
    Gradients gradients =
        Gradients.of(output(tensors, "dx", norm.inputDType(), inputs.x().shape()));
    if (inputs.weight().isPresent()) {
      gradients =
          gradients.weight(
              output(tensors, "dweight", dtype, inputs.normalizedShape()), GradientMode.WRITE);
    }
    if (inputs.bias().isPresent()) {
      gradients =
          gradients.bias(
              output(tensors, "dbias", dtype, inputs.normalizedShape()), GradientMode.WRITE);
    }
    return inputs.dresidual().isPresent()
        ? gradients.residual(tensors.input(inputs.dresidual().get()))
        : gradients;
  }

  /** Adds a tensor to the results and returns the memory to write. */
  private TensorView output(DeviceTensors tensors, String name, DType dtype, long[] shape) {
    return tensors.output(results.add(name, dtype, shape));
  }

  private void report(Norm norm, Fp8Output output) {
    if (context.json()) {
      context.print(document(norm, output));
      return;
    }
    PrintWriter out = context.out();
    out.println(
        OptionNames.of(kind)
            + " under "
            + OptionNames.of(norm.policy())
            + ", epsilon "
            + Numbers.exact(norm.epsilon())
            + (norm.device().isCpu() ? "" : ", on " + DeviceNames.text(norm.device()))
            + ": "
            + PolicyText.formula(norm.policy())
            + output.text());
    results.print(out);
  }

  private JsonObject document(Norm norm, Fp8Output output) {
    JsonObject document = new JsonObject();
    document.addProperty("op", OptionNames.of(kind));
    DeviceNames.add(document, norm.device());
    document.add("policy", PolicyText.json(norm.policy()));
    document.addProperty("epsilon", norm.epsilon());
    output.addTo(document);
    results.addTo(document);
    return document;
  }
}
