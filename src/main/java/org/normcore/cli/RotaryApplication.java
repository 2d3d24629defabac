package org.normcore.cli;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.HeadsView;
import org.normcore.Rotary;
import org.normcore.RotarySpec;
import org.normcore.RotaryTable;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;

/**
 * One run of a rotary position embedding on the tensors of a file: reads, computes, compares, then
 * writes.
 */
final class RotaryApplication {
  private final Context context;
  private final ApplyRotaryCommand options;
  private final ApplyResults results;

  RotaryApplication(Context context, ApplyRotaryCommand options) {
    this.context = context;
    this.options = options;
    this.results = new ApplyResults(options.files, options.expectation);
  }

  int run() throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(options.files.in)) {
      RotaryInputs inputs = RotaryInputs.read(options.files.in, file);
      RotarySpec spec = spec(inputs.q().size(3));
      DType tableDType = Optional.ofNullable(options.tableDType).orElse(inputs.q().dtype());
      checkOptions();
      try (Rotary rotary =
              Rotary.builder(spec)
                  .dtype(inputs.q().dtype())
                  .tableDType(tableDType)
                  .layout(options.layout)
                  .rounding(options.rounding)
                  .device(context.device())
                  .threads(context.threads())
                  .build();
          RotaryTable table = table(spec, tableDType, inputs);
          DeviceTensors tensors = new DeviceTensors(context.device())) {
        compute(rotary, table, inputs, tensors);
        results.finish();
        report(rotary, table);
        return results.status();
      }
    }
  }

  private RotarySpec spec(long headDim) throws IOException {
    String source = options.files.in + ": head_dim of q";
    RotarySpec spec = options.rotary.spec(headDim, source);
    if (spec.headDim() != headDim) {
      throw new BadInput(
          source
              + " is "
              + headDim
              + ", expected "
              + spec.headDim()
              + ", as "
              + options.rotary.config().map(Object::toString).orElse("the spec")
              + " has head_dim "
              + spec.headDim());
    }
    return spec;
  }

  private void checkOptions() {
    if (options.tableDType != null && !InputTypes.isNarrow(options.tableDType)) {
      throw new BadInput(
          "--table-dtype is "
              + OptionNames.of(options.tableDType)
              + ", expected float32, bfloat16 or float16");
    }
    if (options.sequenceLength != null && options.sequenceLength < 0) {
      throw new BadInput(
          "--sequence-length is " + options.sequenceLength + ", expected at least 0");
    }
  }

  private RotaryTable table(RotarySpec spec, DType dtype, RotaryInputs inputs) {
    RotaryTable.Builder builder =
        RotaryTable.builder(spec)
            .angles(options.angles)
            .dtype(dtype)
            .device(context.device())
            .parallel(context.threads() > 1);
    if (options.sequenceLength != null) {
      builder.sequenceLength(options.sequenceLength);
    }
    long[] all = inputs.positions();
    if (!inputs.positionsOfEachBatch()) {
      return builder.positions(all);
    }
    int batches = Math.toIntExact(inputs.q().size(0));
    int seq = Math.toIntExact(inputs.q().size(1));
    long[][] each = new long[batches][];
    for (int b = 0; b < batches; b++) {
      each[b] = Arrays.copyOfRange(all, b * seq, (b + 1) * seq);
    }
    return builder.positions(each);
  }

  private void compute(
      Rotary rotary, RotaryTable table, RotaryInputs inputs, DeviceTensors tensors) {
    HeadsView q = HeadsView.of(tensors.input(inputs.q()));
    HeadsView k = HeadsView.of(tensors.input(inputs.k()));
    rotary.forward(
        table, q, output(tensors, "q_out", inputs.q()), k, output(tensors, "k_out", inputs.k()));
    inputs.dq().ifPresent(dq -> backward(rotary, table, tensors, "dq_out", dq));
    inputs.dk().ifPresent(dk -> backward(rotary, table, tensors, "dk_out", dk));
    for (String name : List.of("cos", "sin")) {
      TensorView view = name.equals("cos") ? table.cos() : table.sin();
      tensors.output(results.add(name, view.dtype(), view.shape()), view);
    }
    tensors.fetch();
  }

  private void backward(
      Rotary rotary, RotaryTable table, DeviceTensors tensors, String name, TensorView dy) {
    rotary.backward(table, HeadsView.of(tensors.input(dy)), output(tensors, name, dy));
  }

  private HeadsView output(DeviceTensors tensors, String name, TensorView like) {
    return HeadsView.of(tensors.output(results.add(name, like.dtype(), like.shape())));
  }

  private void report(Rotary rotary, RotaryTable table) {
    if (context.json()) {
      context.print(document(rotary, table));
      return;
    }
    PrintWriter out = context.out();
    out.println(
        "rotary of "
            + rotary.rotaryDim()
            + " of "
            + rotary.headDim()
            + " elements, "
            + RotaryText.frequencies(table.spec())
            + ", "
            + OptionNames.of(rotary.layout())
            + ", angles in "
            + OptionNames.of(table.angles())
            + (rotary.device().isCpu() ? "" : ", on " + DeviceNames.text(rotary.device()))
            + ": "
            + RotaryText.formula(rotary.rounding()));
    results.print(out);
  }

  private JsonObject document(Rotary rotary, RotaryTable table) {
    JsonObject document = new JsonObject();
    document.addProperty("op", "rotary");
    DeviceNames.add(document, rotary.device());
    document.add("spec", RotaryText.json(table.spec()));
    document.addProperty("layout", OptionNames.of(rotary.layout()));
    document.addProperty("angles", OptionNames.of(table.angles()));
    document.addProperty("rounding", OptionNames.of(rotary.rounding()));
    document.addProperty("table_dtype", OptionNames.of(table.dtype()));
    document.addProperty("formula", RotaryText.formula(rotary.rounding()));
    results.addTo(document);
    return document;
  }
}
