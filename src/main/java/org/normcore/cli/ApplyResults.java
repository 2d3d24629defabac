package org.normcore.cli;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsWriter;

/** The output tensors of an operation, by name: compared first, then written. */
final class ApplyResults {
  private final FileOptions files;
  private final ExpectOptions expectation;
  private final Map<String, TensorView> tensors = new LinkedHashMap<>();
  private Optional<Expectation> outcome = Optional.empty();

  /** Checks the options. */
  ApplyResults(FileOptions files, ExpectOptions expectation) {
    FileOptions.check(files, expectation);
    this.files = files;
    this.expectation = expectation;
  }

  /** Adds a tensor of zeros and returns it. */
  TensorView add(String name, DType dtype, long... shape) {
    NativeBuffer memory = NativeBuffer.allocate(dtype, shape).zero();
    TensorView view = memory.view(dtype, shape);
    tensors.put(name, view);
    return view;
  }

  /** Returns a tensor of one float32 number. */
  static TensorView number(float value) {
    return NativeBuffer.allocate(DType.FLOAT32, 1)
        .view(DType.FLOAT32, 1)
        .copyFrom(new float[] {value});
  }

  /** Compares the tensors, if requested, and then writes them, if requested. */
  void finish() throws IOException {
    if (expectation.expect != null) {
      outcome =
          Optional.of(
              Expectation.compare(
                  expectation.expect, tensors, Optional.ofNullable(expectation.maxUlp)));
    }
    if (files.out != null) {
      SafetensorsWriter.write(files.out, tensors);
    }
  }

  /** The exit status that the comparison determines. */
  int status() {
    return outcome.map(Expectation::exceeded).orElse(false) ? 1 : 0;
  }

  /** Prints the tensors, the comparison and the output file. */
  void print(PrintWriter out) {
    TextTable table = new TextTable("tensor", "dtype", "shape");
    tensors.forEach(
        (name, view) ->
            table.row(name, OptionNames.of(view.dtype()), Arrays.toString(view.shape())));
    table.print(out);
    outcome.ifPresent(e -> e.print(out));
    if (files.out != null) {
      out.println("Written to " + files.out + ".");
    }
  }

  /** Adds the same information to a document. */
  void addTo(JsonObject document) {
    document.addProperty("out", files.out == null ? null : files.out.toString());
    JsonObject all = new JsonObject();
    tensors.forEach(
        (name, view) -> {
          JsonObject tensor = new JsonObject();
          tensor.addProperty("dtype", OptionNames.of(view.dtype()));
          tensor.add("shape", Json.array(view.shape()));
          all.add(name, tensor);
        });
    document.add("tensors", all);
    outcome.ifPresent(e -> document.add("expect", e.json()));
  }
}
