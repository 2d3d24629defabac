package org.normcore.cli.bench;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
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
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Throughput and latency per operation, type and shape. */
@Command(
    name = "bench",
    sortOptions = false,
    description = {
      "Measure throughput and latency per operation, dtype and shape, relative to the copy bandwidth of this machine.",
      "",
      "All figures are medians. The bytes of a norm's forward are those of x and y, of its backward dy, x and dx, of rotary"
          + " and fp8 input and output. fp8 runs in one thread on the CPU.",
      "",
      "On the CPU calls alternate with copies of x to y, in the same rounds and with the same number of threads: the C library's"
          + " memcpy ('copy') and a copy with non-temporal stores ('stream')."
          + " With several threads everything is also measured with one thread. A norm's time with all threads is split:"
          + " 'call' is the time of a call on one element, 'dispatch' that of waking the other threads, 'compute' that"
          + " of the same rows in the cache, extrapolated from a few cached rows, and 'memory' the rest.",
      "",
      "On a CUDA device many calls are"
          + " timed together, on several sets of tensors that together exceed the device's cache; the copy is"
          + " within the device's memory.",
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
          "rms-norm, layer-norm, rotary (with a table of the same type) or fp8 (to e4m3 with a given scale, and back)."
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
      description = "The number of rows. Default: 16 million elements in total.")
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
      defaultValue = "0.2",
      description =
          "The time to measure each figure; short calls on the CPU use a quarter of it. Default: ${DEFAULT-VALUE}.")
  private double seconds;

  @Override
  public Integer call() {
    Context context = Context.of(spec);
    check();
    OptionalDouble dispatchNanos = OptionalDouble.empty();
    Bench bench;
    if (context.device().isCpu()) {
      CpuBench onCpu = new CpuBench(policy, context.threads(), seconds);
      dispatchNanos = OptionalDouble.of(onCpu.dispatchNanos());
      bench = onCpu;
    } else {
      bench = new CudaBench(policy, context.device(), seconds);
    }
    List<BenchCase> cases = measure(context, bench);
    if (context.json()) {
      context.print(document(context, cases, dispatchNanos));
    } else {
      BenchText.print(context, OptionNames.of(policy), cases, dispatchNanos);
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

  private List<BenchCase> measure(Context context, Bench bench) {
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

  private JsonObject document(
      Context context, List<BenchCase> cases, OptionalDouble dispatchNanos) {
    JsonObject document = new JsonObject();
    document.addProperty("version", Normcore.version());
    document.addProperty("vector_level", OptionNames.of(VectorLevel.best()));
    DeviceNames.add(document, context.device());
    document.addProperty("threads", context.threads());
    document.addProperty("policy", OptionNames.of(policy));
    dispatchNanos.ifPresent(nanos -> document.addProperty("dispatch_seconds", nanos / 1e9));
    JsonArray array = new JsonArray();
    for (BenchCase benchCase : cases) {
      array.add(benchCase.json());
    }
    document.add("cases", array);
    return document;
  }
}
