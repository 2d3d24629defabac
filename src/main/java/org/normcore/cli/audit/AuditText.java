package org.normcore.cli.audit;

import java.io.PrintWriter;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;
import org.normcore.cli.TextTable;
import org.normcore.cli.compare.Comparison;

/** An audit's result for a terminal. */
final class AuditText {
  private static final int MOST_NORMS = 40;

  private AuditText() {}

  static void print(AuditReport report, PrintWriter out) {
    report.model().ifPresent(model -> out.println(model.sentence()));
    if (report.model().isEmpty()) {
      out.println(
          "The built-in case: rms-norm"
              + report.cases().stream()
                  .findFirst()
                  .map(c -> " of [1, " + c.rows() + ", " + c.hiddenSize() + "]")
                  .orElse("")
              + ", epsilon "
              + Numbers.exact(report.epsilon())
              + ", x and weight normally distributed, seed "
              + report.seed()
              + ".");
    } else if (report.cases().stream().anyMatch(AuditCase::drawn)) {
      out.println("Hidden states and incoming gradients are random, seed " + report.seed() + ".");
    } else {
      out.println(
          "Hidden states are the recorded ones; incoming gradients are random, seed "
              + report.seed()
              + ".");
    }
    if (!report.device().isCpu()) {
      out.println("Evaluated on " + DeviceNames.text(report.device()) + ".");
    }
    out.println();
    boolean single =
        report.policyComparisons().stream().allMatch(compared -> compared.cases().size() == 1);
    printFindings(report, out);
    if (!single) {
      out.println();
      report.main().ifPresent(main -> printNorms(main, out));
    }
    out.println();
    out.println(report.conclusion());
    report.policyComparisons().stream()
        .filter(PolicyComparison::isCheck)
        .forEach(compared -> out.println(compared.sentence()));
    report.recordedSentence().ifPresent(out::println);
  }

  private static void printFindings(AuditReport report, PrintWriter out) {
    TextTable table =
        new TextTable(
            "dtype", "policies", "tensor", "differing", "beyond 0.01", "max abs", "max ulp");
    for (PolicyComparison compared : report.policyComparisons()) {
      compared
          .tensors()
          .forEach(
              (name, c) ->
                  table.row(
                      OptionNames.of(compared.dtype()),
                      compared.a() + " / " + compared.b(),
                      name,
                      Numbers.percent(c.differingShare()),
                      Numbers.percent(c.beyondShare()),
                      Numbers.shortest(c.maxAbs()),
                      Long.toString(c.maxUlp())));
    }
    table.print(out);
  }

  private static void printNorms(PolicyComparison compared, PrintWriter out) {
    out.println(
        "By norm, "
            + compared.a()
            + " / "
            + compared.b()
            + " in "
            + OptionNames.of(compared.dtype())
            + ":");
    TextTable table =
        new TextTable("norm", "y differing", "y max abs", "dx differing", "dweight differing");
    for (AuditCase c : compared.cases().subList(0, Math.min(MOST_NORMS, compared.cases().size()))) {
      Comparison y = c.tensors().get("y");
      table.row(
          c.norm(),
          Numbers.percent(y.differingShare()),
          Numbers.shortest(y.maxAbs()),
          Numbers.percent(c.tensors().get("dx").differingShare()),
          Numbers.percent(c.tensors().get("dweight").differingShare()));
    }
    table.print(out);
    if (compared.cases().size() > MOST_NORMS) {
      out.println(
          "and " + (compared.cases().size() - MOST_NORMS) + " more; the report has all of them");
    }
  }
}
