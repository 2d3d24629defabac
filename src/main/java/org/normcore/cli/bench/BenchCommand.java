package org.normcore.cli.bench;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.normcore.DType;
import org.normcore.NormPolicy;
import org.normcore.Normcore;
import org.normcore.VectorLevel;
import org.normcore.cli.BadInput;
import org.normcore.cli.Context;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.OptionNames;
import org.normcore.cli.Progress;
import org.normcore.cli.TextTable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Throughput and latency per operation, type and shape. */
@Command(
    name = "bench",
    sortOptions = false,
    description = {
      "Measure throughput and latency per operation, dtype and shape, next to this machine's own copy bandwidth.",
      "",
      "All figures are medians. A norm's forward counts the bytes of x and y, its backward those of dy, x and dx; rotary"
          + " and fp8 those of input and output. fp8 runs in one thread on the CPU. The copy reads"
          + " and writes as many bytes as x has, with as many threads, in the same run. On a CUDA device many calls are"
          + " timed together, on tensors that take turns so that the device's cache does not hold them, and the copy is"
          + " one within the device's memory.",
      ""
    })
public final class BenchCommand implements Callable<Integer> {
  private static final long DEFAULT_ELEMENTS = 1 << 24;

  @Spec private CommandSpec spec;

  @Option(
      names = "--op",
      split = ",",
      paramLabel = "OP",
      defaultValue = "rms-norm,layer-norm",
      description =
          "rms-norm, layer-norm, rotary (of a table in the same type) or fp8 (to e4m3 with a given scale, and back)."
              + " Default: the norms.")
  private List<BenchOp> ops;

  @Option(
      names = "--hidden",
      split = ",",
      paramLabel = "N",
      defaultValue = "1024,4096",
      description = "Lengths of rows. Default: ${DEFAULT-VALUE}.")
  private List<Long> hidden;

  @Option(
      names = "--rows",
      paramLabel = "N",
      description = "The number of rows. Default: as many as make 16 million elements.")
  private Long rows;

  @Option(
      names = "--dtype",
      split = ",",
      paramLabel = "TYPE",
      defaultValue = "bfloat16,float32",
      description = "float64, float32, bfloat16, float16. Default: ${DEFAULT-VALUE}.")
  private List<DType> dtypes;

  @Option(
      names = "--policy",
      paramLabel = "NAME",
      defaultValue = "transformer-engine",
      description = "The policy. Default: ${DEFAULT-VALUE}.")
  private NormPolicy policy;

  @Option(
      names = "--seconds",
      paramLabel = "S",
      defaultValue = "0.3",
      description = "How long to measure each figure. Default: ${DEFAULT-VALUE}.")
  private double seconds;

  @Override
  public Integer call() {
    Context context = Context.of(spec);
    check();
    List<BenchCase> cases = measure(context);
    if (context.json()) {
      context.print(document(context, cases));
    } else {
      print(context, cases);
    }
    return 0;
  }

  private void check() {
    for (long size : hidden) {
      if (size < 1 || size > 1 << 20) {
        throw new BadInput("--hidden is " + size + ", expected 1 to " + (1 << 20));
      }
    }
    if (rows != null && (rows < 1 || rows > 1L << 31)) {
      throw new BadInput("--rows is " + rows + ", expected 1 to " + (1L << 31));
    }
    if (!(seconds > 0 && seconds <= 3600)) {
      throw new BadInput("--seconds is " + seconds + ", expected more than 0 and at most 3600");
    }
    for (DType dtype : dtypes) {
      if (!dtype.isNormType()) {
        throw new BadInput(
            "--dtype is "
                + OptionNames.of(dtype)
                + ", expected float64, float32, bfloat16 or float16");
      }
      if (dtype == DType.FLOAT64 && ops.stream().anyMatch(op -> op.norm().isEmpty())) {
        throw new BadInput(
            "--dtype is float64, expected float32, bfloat16 or float16 for rotary and fp8");
      }
    }
  }

  private List<BenchCase> measure(Context context) {
    Bench bench =
        context.device().isCpu()
            ? new CpuBench(policy, context.threads(), new Stopwatch(seconds))
            : new CudaBench(policy, context.device(), seconds);
    List<BenchCase> cases = new ArrayList<>();
    try (Progress progress =
        Progress.start("bench", (long) ops.size() * dtypes.size() * hidden.size())) {
      for (BenchOp op : ops) {
        for (DType dtype : dtypes) {
          for (long size : hidden) {
            long height = Optional.ofNullable(rows).orElse(Math.max(1, DEFAULT_ELEMENTS / size));
            cases.addAll(bench.run(op, dtype, height, size));
            progress.step(OptionNames.of(op) + " " + OptionNames.of(dtype) + " " + size);
          }
        }
      }
    }
    return cases;
  }

  private JsonObject document(Context context, List<BenchCase> cases) {
    JsonObject document = new JsonObject();
    document.addProperty("version", Normcore.version());
    document.addProperty("vector_level", OptionNames.of(VectorLevel.best()));
    DeviceNames.add(document, context.device());
    document.addProperty("threads", context.threads());
    document.addProperty("policy", OptionNames.of(policy));
    JsonArray array = new JsonArray();
    for (BenchCase benchCase : cases) {
      array.add(benchCase.json());
    }
    document.add("cases", array);
    return document;
  }

  private void print(Context context, List<BenchCase> cases) {
    PrintWriter out = context.out();
    out.println(
        (context.device().isCpu()
                ? "Vector level "
                    + OptionNames.of(VectorLevel.best())
                    + ", threads "
                    + context.threads()
                : "Device " + DeviceNames.text(context.device()))
            + ", policy "
            + OptionNames.of(policy)
            + ".");
    TextTable table =
        new TextTable(
            "op",
            "direction",
            "dtype",
            "rows",
            "hidden",
            "ms",
            "GB/s",
            "copy GB/s",
            "of copy",
            "one row us");
    for (BenchCase c : cases) {
      table.row(
          OptionNames.of(c.op()),
          c.direction(),
          OptionNames.of(c.dtype()),
          Long.toString(c.rows()),
          Long.toString(c.hiddenSize()),
          decimal(c.nanos() / 1e6, 3),
          decimal(c.bytesPerSecond() / 1e9, 2),
          decimal(c.copyBytesPerSecond() / 1e9, 2),
          decimal(c.shareOfCopy(), 2),
          decimal(c.latencyNanos() / 1e3, 2));
    }
    table.print(out);
  }

  private static String decimal(double value, int digits) {
    return String.format(Locale.ROOT, "%." + digits + "f", value);
  }
}
