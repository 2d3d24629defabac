package org.normcore.cli;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.NativeBuffer;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.Operands;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;
import org.normcore.cli.safetensors.SafetensorsWriter;

/** One run of a norm on the tensors of a file: reads, computes, compares, and only then writes. */
final class NormApplication {
  private final Context context;
  private final NormKind kind;
  private final ApplyOptions options;
  private final Map<String, TensorView> outputs = new LinkedHashMap<>();

  NormApplication(Context context, NormKind kind, ApplyOptions options) {
    this.context = context;
    this.kind = kind;
    this.options = options;
  }

  int run() throws IOException {
    checkOptions();
    try (SafetensorsFile file = SafetensorsFile.open(options.in)) {
      NormInputs inputs = NormInputs.read(file, options);
      NormRequest request = request(inputs);
      try (Norm norm = request.open();
          DeviceTensors tensors = new DeviceTensors(context.device())) {
        compute(norm, inputs, tensors);
        Optional<Expectation> expectation = expectation();
        if (options.out != null) {
          SafetensorsWriter.write(options.out, outputs);
        }
        report(norm, expectation);
        return expectation.map(Expectation::exceeded).orElse(false) ? 1 : 0;
      }
    }
  }

  private void checkOptions() {
    if (options.out == null && options.expect == null) {
      throw new BadInput(
          "--out is missing: expected the file to write, or --expect to compare with only");
    }
    if (options.maxUlp != null && options.expect == null) {
      throw new BadInput("--max-ulp needs --expect, the file to compare with");
    }
    if (options.maxUlp != null && options.maxUlp < 0) {
      throw new BadInput("--max-ulp is " + options.maxUlp + ", expected at least 0");
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

  private void compute(Norm norm, NormInputs inputs, DeviceTensors tensors) {
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

  /** Adds a tensor to the results, and returns where to write it. */
  private TensorView output(DeviceTensors tensors, String name, DType dtype, long[] shape) {
    TensorView view = NativeBuffer.allocate(dtype, shape).view(dtype, shape);
    outputs.put(name, view);
    return tensors.output(view);
  }

  private Optional<Expectation> expectation() throws IOException {
    if (options.expect == null) {
      return Optional.empty();
    }
    return Optional.of(
        Expectation.compare(options.expect, outputs, Optional.ofNullable(options.maxUlp)));
  }

  private void report(Norm norm, Optional<Expectation> expectation) {
    if (context.json()) {
      context.print(document(norm, expectation));
      return;
    }
    context
        .out()
        .println(
            OptionNames.of(kind)
                + " under "
                + OptionNames.of(norm.policy())
                + ", epsilon "
                + Numbers.exact(norm.epsilon())
                + (norm.device().isCpu() ? "" : ", on " + DeviceNames.text(norm.device()))
                + ": "
                + PolicyText.formula(norm.policy()));
    TextTable table = new TextTable("tensor", "dtype", "shape");
    outputs.forEach(
        (name, view) ->
            table.row(name, OptionNames.of(view.dtype()), Arrays.toString(view.shape())));
    table.print(context.out());
    expectation.ifPresent(e -> e.print(context.out()));
    if (options.out != null) {
      context.out().println("Written to " + options.out + ".");
    }
  }

  private JsonObject document(Norm norm, Optional<Expectation> expectation) {
    JsonObject document = new JsonObject();
    document.addProperty("op", OptionNames.of(kind));
    DeviceNames.add(document, norm.device());
    document.add("policy", PolicyText.json(norm.policy()));
    document.addProperty("epsilon", norm.epsilon());
    document.addProperty("out", options.out == null ? null : options.out.toString());
    JsonObject tensors = new JsonObject();
    outputs.forEach((name, view) -> tensors.add(name, tensor(view)));
    document.add("tensors", tensors);
    expectation.ifPresent(e -> document.add("expect", e.json()));
    return document;
  }

  private static JsonObject tensor(TensorView view) {
    JsonObject tensor = new JsonObject();
    tensor.addProperty("dtype", OptionNames.of(view.dtype()));
    tensor.add("shape", Json.array(view.shape()));
    return tensor;
  }
}
