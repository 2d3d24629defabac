package org.normcore.cli.bench;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import org.normcore.VectorLevel;
import org.normcore.cli.Context;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.OptionNames;
import org.normcore.cli.TextTable;

/** The measurements as text. */
final class BenchText {
  private static final List<String> NAMES = List.of("op", "direction", "dtype", "rows", "hidden");

  private BenchText() {}

  static void print(
      Context context, String policy, List<BenchCase> cases, OptionalDouble dispatchNanos) {
    PrintWriter out = context.out();
    boolean onCpu = context.device().isCpu();
    out.println(
        (onCpu
                ? "Vector level "
                    + OptionNames.of(VectorLevel.best())
                    + ", threads "
                    + context.threads()
                : "Device " + DeviceNames.text(context.device()))
            + ", policy "
            + policy
            + ".");
    out.println();
    printThroughput(out, cases, onCpu);
    if (!onCpu) {
      return;
    }
    if (context.threads() > 1) {
      out.println();
      out.println(
          "One thread compared with "
              + context.threads()
              + ", which take "
              + decimal(dispatchNanos.orElse(0) / 1e3, 1)
              + " us to wake:");
      printThreads(out, cases);
    }
    if (cases.stream().anyMatch(c -> c.cpu().flatMap(CpuFigures::spent).isPresent())) {
      out.println();
      out.println("Breakdown of the time, in percent:");
      printSpent(out, cases);
    }
  }

  private static void printThroughput(PrintWriter out, List<BenchCase> cases, boolean onCpu) {
    List<String> heads = new ArrayList<>(List.of("ms", "GB/s", "copy GB/s", "of copy"));
    if (onCpu) {
      heads.addAll(List.of("stream GB/s", "of stream"));
    }
    heads.add("one row us");
    TextTable table = table(heads);
    for (BenchCase c : cases) {
      List<String> cells =
          cells(
              c,
              decimal(c.nanos() / 1e6, 3),
              decimal(c.bytesPerSecond() / 1e9, 2),
              decimal(c.copyBytesPerSecond() / 1e9, 2),
              decimal(c.shareOfCopy(), 2));
      c.cpu()
          .ifPresent(
              cpu -> {
                cells.add(decimal(cpu.all().streamingBytesPerSecond() / 1e9, 2));
                cells.add(decimal(cpu.all().shareOfStreaming(), 2));
              });
      cells.add(decimal(c.latencyNanos() / 1e3, 2));
      table.row(cells.toArray(String[]::new));
    }
    table.print(out);
  }

  private static void printThreads(PrintWriter out, List<BenchCase> cases) {
    TextTable table =
        table(List.of("ms", "GB/s", "of copy", "of stream", "speed-up", "copy's speed-up"));
    for (BenchCase c : cases) {
      c.cpu()
          .flatMap(CpuFigures::alone)
          .ifPresent(
              one -> {
                CpuFigures cpu = c.cpu().get();
                List<String> cells =
                    cells(
                        c,
                        decimal(one.call().median() / 1e6, 3),
                        decimal(one.bytesPerSecond() / 1e9, 2),
                        decimal(one.shareOfCopy(), 2),
                        decimal(one.shareOfStreaming(), 2),
                        decimal(cpu.speedup(), 2),
                        decimal(cpu.copySpeedup(), 2));
                table.row(cells.toArray(String[]::new));
              });
    }
    table.print(out);
  }

  private static void printSpent(PrintWriter out, List<BenchCase> cases) {
    TextTable table = table(List.of("call", "dispatch", "compute", "memory"));
    for (BenchCase c : cases) {
      c.cpu()
          .flatMap(CpuFigures::spent)
          .ifPresent(
              time -> {
                List<String> cells =
                    cells(
                        c,
                        percent(time.call(), time),
                        percent(time.dispatch(), time),
                        percent(time.compute(), time),
                        percent(time.memory(), time));
                table.row(cells.toArray(String[]::new));
              });
    }
    table.print(out);
  }

  private static TextTable table(List<String> heads) {
    List<String> all = new ArrayList<>(NAMES);
    all.addAll(heads);
    return new TextTable(all.toArray(String[]::new));
  }

  private static List<String> cells(BenchCase c, String... more) {
    List<String> cells =
        new ArrayList<>(
            List.of(
                OptionNames.of(c.op()),
                c.direction(),
                OptionNames.of(c.dtype()),
                Long.toString(c.rows()),
                Long.toString(c.hiddenSize())));
    cells.addAll(Arrays.asList(more));
    return cells;
  }

  private static String percent(double part, TimeSpent whole) {
    return decimal(100 * part / whole.total(), 1);
  }

  private static String decimal(double value, int digits) {
    return String.format(Locale.ROOT, "%." + digits + "f", value);
  }
}
