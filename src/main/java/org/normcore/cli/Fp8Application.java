package org.normcore.cli;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Collectors;
import org.normcore.DType;
import org.normcore.Fp8Parameter;
import org.normcore.Fp8Spec;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;

/** One quantisation of a tensor of a file: reads, computes, compares, then writes. */
final class Fp8Application {
  private final Context context;
  private final ApplyFp8Command options;
  private final ApplyResults results;

  /** The results that are a single number. */
  private final Map<String, TensorView> numbers = new LinkedHashMap<>();

  Fp8Application(Context context, ApplyFp8Command options) {
    this.context = context;
    this.options = options;
    this.results = new ApplyResults(options.files, options.expectation);
  }

  int run() throws IOException {
    Fp8Spec spec = spec();
    try (SafetensorsFile file = SafetensorsFile.open(options.files.in);
        DeviceTensors tensors = new DeviceTensors(context.device())) {
      TensorView x = tensors.input(InputTypes.view(options.files.in, file, "x"));
      try (Fp8Parameter parameter = Fp8Parameter.quantize(x, spec)) {
        keep(tensors, "q", parameter.data());
        if (options.scaling == ApplyFp8Command.Scaling.TENSOR) {
          numbers.put("scale", keep(tensors, "scale", parameter.scale()));
          numbers.put("scale_inv", keep(tensors, "scale_inv", parameter.scaleInv()));
        } else {
          keep(tensors, "scale_inv", parameter.scaleInv());
        }
        TensorView amax = results.add("amax", DType.FLOAT32, 1);
        numbers.put("amax", amax);
        Fp8Parameter.amax(x, tensors.output(amax), null);
        parameter.dequantize(tensors.output(results.add("dequantized", DType.FLOAT32, x.shape())));
        tensors.fetch();
      }
      results.finish();
      report(spec);
      return results.status();
    }
  }

  private Fp8Spec spec() {
    boolean computed = options.scaling == ApplyFp8Command.Scaling.TENSOR && options.scale == null;
    if (!computed) {
      String why =
          options.scale == null
              ? "--scaling is mxfp8, whose scales depend on the data only"
              : "--scale is given";
      refuse(options.margin != null, "--margin", why);
      refuse(options.powerOfTwo, "--power-of-two", why);
    }
    if (options.scaling == ApplyFp8Command.Scaling.MXFP8) {
      refuse(options.scale != null, "--scale", "--scaling is mxfp8");
    }
    Fp8Spec.Builder builder =
        Fp8Spec.builder(
            options.format == ApplyFp8Command.Format.E4M3 ? DType.FLOAT8_E4M3 : DType.FLOAT8_E5M2);
    if (options.scaling == ApplyFp8Command.Scaling.MXFP8) {
      builder.mxfp8();
    } else if (options.scale != null) {
      if (!(options.scale >= Float.MIN_NORMAL && options.scale <= Float.MAX_VALUE)) {
        throw new BadInput(
            "--scale is " + options.scale + ", expected a positive, normal float32 number");
      }
      builder.givenScale(options.scale);
    } else {
      if (options.margin != null && (options.margin < 0 || options.margin > Fp8Spec.MAX_MARGIN)) {
        throw new BadInput(
            "--margin is " + options.margin + ", expected 0 to " + Fp8Spec.MAX_MARGIN);
      }
      builder.currentScaling().margin(options.margin == null ? 0 : options.margin);
      builder.powerOfTwo(options.powerOfTwo);
    }
    return builder.build();
  }

  private static void refuse(boolean given, String option, String why) {
    if (given) {
      throw new BadInput(option + " can't be given, because " + why);
    }
  }

  private TensorView keep(DeviceTensors tensors, String name, TensorView view) {
    TensorView host = results.add(name, view.dtype(), view.shape());
    tensors.output(host, view);
    return host;
  }

  private void report(Fp8Spec spec) {
    if (context.json()) {
      JsonObject document = new JsonObject();
      document.addProperty("op", "fp8");
      DeviceNames.add(document, context.device());
      document.addProperty("format", OptionNames.of(spec.format()));
      document.addProperty("scaling", OptionNames.of(options.scaling));
      document.addProperty("margin", spec.margin());
      document.addProperty("power_of_two", spec.powerOfTwo());
      numbers.forEach((name, view) -> document.add(name, Json.number(view.toFloats()[0])));
      results.addTo(document);
      context.print(document);
      return;
    }
    PrintWriter out = context.out();
    out.println(
        "fp8, "
            + OptionNames.of(spec.format())
            + ", scaling "
            + OptionNames.of(options.scaling)
            + (context.device().isCpu() ? "" : ", on " + DeviceNames.text(context.device()))
            + ": q = rd(x * scale), dequantized = q * scale_inv");
    out.println(
        numbers.entrySet().stream()
            .map(number -> number.getKey() + " " + number.getValue().toFloats()[0])
            .collect(Collectors.joining(", ")));
    results.print(out);
  }
}
