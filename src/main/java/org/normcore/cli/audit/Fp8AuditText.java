package org.normcore.cli.audit;

import java.io.PrintWriter;
import java.util.List;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.Numbers;
import org.normcore.cli.TextTable;

/** An audit of initial values for a terminal. */
final class Fp8AuditText {
  private static final int MOST_TENSORS = 20;

  private Fp8AuditText() {}

  static void print(Fp8Report report, PrintWriter out) {
    out.println(
        report.model().isPresent()
            ? report.cases().size() + " weights of " + report.model().get() + "."
            : "Random values, seed "
                + report.seed()
                + ", "
                + report.cases().get(0).rows()
                + " x "
                + report.cases().get(0).columns()
                + " of each kind.");
    if (!report.device().isCpu()) {
      out.println("Quantised on " + DeviceNames.text(report.device()) + ".");
    }
    out.println();
    TextTable table =
        new TextTable(
            "values",
            "format",
            "scale",
            "become zero",
            "saturated",
            "master error, rms",
            "mean",
            "kept");
    if (report.model().isPresent()) {
      report.methods().forEach(method -> row(table, "all weights", method, report.total(method)));
    } else {
      report
          .cases()
          .forEach(
              c -> c.losses().forEach((method, losses) -> row(table, c.name(), method, losses)));
    }
    table.print(out);
    if (report.model().isPresent()) {
      out.println();
      printTensors(report, out);
    }
    out.println();
    out.println(report.conclusion());
  }

  private static void row(TextTable table, String name, Fp8Method method, Fp8Losses losses) {
    table.row(
        name,
        method.format(),
        method.name(),
        Numbers.percent(losses.zeroShare()),
        Numbers.percent(losses.saturatedShare()),
        Numbers.percent(losses.rmsError()),
        Numbers.percent(losses.meanRelativeError()),
        Numbers.shortest(losses.keptError()));
  }

  private static void printTensors(Fp8Report report, PrintWriter out) {
    Fp8Method one = report.methods().get(0);
    Fp8Method own = report.methods().get(1);
    out.println("By weight, in " + one.format() + ", " + one.name() + " and " + own.name() + ":");
    TextTable table =
        new TextTable("weight", "become zero", "with own amax", "error, rms", "with own amax");
    List<Fp8Report.Case> worst = report.worstFirst();
    for (Fp8Report.Case c : worst.subList(0, Math.min(MOST_TENSORS, worst.size()))) {
      table.row(
          c.name(),
          Numbers.percent(c.losses().get(one).zeroShare()),
          Numbers.percent(c.losses().get(own).zeroShare()),
          Numbers.percent(c.losses().get(one).rmsError()),
          Numbers.percent(c.losses().get(own).rmsError()));
    }
    table.print(out);
    if (worst.size() > MOST_TENSORS) {
      out.println("and " + (worst.size() - MOST_TENSORS) + " more; the report has all of them");
    }
  }
}
