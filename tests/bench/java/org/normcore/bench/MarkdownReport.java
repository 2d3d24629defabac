package org.normcore.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** The report as Markdown tables. */
final class MarkdownReport {
  private final Run run;
  private final StringBuilder text = new StringBuilder();

  private MarkdownReport(Run run) {
    this.run = run;
  }

  static String text(Run run, List<Target> targets, List<String> plots) {
    MarkdownReport report = new MarkdownReport(run);
    report.head(plots);
    report.targets(targets);
    report.table();
    report.latencies();
    report.costs();
    report.absences();
    return report.text.toString();
  }

  private void line(String format, Object... values) {
    text.append(String.format(Locale.ROOT, format, values)).append('\n');
  }

  private void head(List<String> plots) {
    line("# The CPU backend beside its peers%n");
    run.machine().forEach((name, fact) -> line("- %s: %s", name, fact));
    run.libraries().forEach((name, version) -> line("- %s: %s", name, version));
    Libraries.peers().stream()
        .filter(library -> !library.remark().isEmpty())
        .forEach(library -> line("- %s: %s", library.name(), library.remark()));
    line(
        "- %d rounds, in each of which every contender of a line has a turn of %d ms; medians%n",
        run.effort().rounds(), run.effort().millis());
    plots.forEach(plot -> line("![Share of memcpy's speed by shape](%s)%n", plot));
  }

  private void targets(List<Target> targets) {
    line("## Targets%n");
    line("| target | | |");
    line("|---|---|---|");
    targets.forEach(
        target -> line("| %s | %s | %s |", target.name(), target.demand(), target.verdict()));
    line("");
    List<Target> missed = targets.stream().filter(target -> !target.missed().isEmpty()).toList();
    if (missed.isEmpty()) {
      return;
    }
    line("### Misses%n");
    for (Target target : missed) {
      line("%s, %s:%n", target.name(), target.demand());
      target.missed().forEach(value -> line("- %.2f: %s", value.value(), value.where()));
      line("");
    }
  }

  private void table() {
    if (run.table().isEmpty()) {
      return;
    }
    line("## Throughput%n");
    line(
        "Shares of the speed of memcpy in bytes per second, with as many threads, in the same"
            + " rounds. The streaming copy has prefetch and stores that pass the caches by. Times"
            + " are medians, with the quartiles in brackets.%n");
    Map<String, List<Measurement>> sections =
        run.table().stream()
            .collect(
                Collectors.groupingBy(
                    line ->
                        Names.of(line.workload().kind())
                            + ", "
                            + line.workload().direction().label(),
                    LinkedHashMap::new,
                    Collectors.toList()));
    List<String> peers = new ArrayList<>(run.libraries().keySet());
    peers.remove(Ours.NAME);
    sections.forEach(
        (title, lines) -> {
          line("### %s%n", title);
          line(
              "| rows x hidden | types | threads | time | %s | of streaming copy | times best"
                  + " peer | %s | streaming copy |",
              Ours.NAME, String.join(" | ", peers));
          line("|---|---|---|---|---|---|---|%s---|", "---|".repeat(peers.size()));
          lines.forEach(measurement -> row(measurement, peers));
          line("");
        });
  }

  private void row(Measurement line, List<String> peers) {
    Workload workload = line.workload();
    String others =
        peers.stream()
            .map(peer -> line.times().containsKey(peer) ? share(line.ofMemcpy(peer)) : "-")
            .collect(Collectors.joining(" | "));
    line(
        "| %s | %s | %d | %s | **%s** | %s | %s | %s | %s |",
        workload.shape(),
        Names.types(workload.dtype(), workload.weightType()),
        workload.threads(),
        time(line.ours()),
        share(line.ofMemcpy(Ours.NAME)),
        share(line.ofStreaming(Ours.NAME)),
        line.hasPeer() ? share(line.overBestPeer()) : "-",
        others,
        share(line.memcpy().median() / line.streaming().median()));
  }

  private void latencies() {
    if (run.latencies() == null) {
      return;
    }
    line("## Latency of one row%n");
    line("From Java, 1 thread, each in a process of its own; medians of averages.%n");
    List<String> libraries = run.latencies().stream().map(Latency::library).distinct().toList();
    line("| | types | %s |", String.join(" | ", libraries));
    line("|---|---|%s", "---|".repeat(libraries.size()));
    Map<Workload, Map<String, Summary>> byWorkload = new LinkedHashMap<>();
    for (Latency latency : run.latencies()) {
      byWorkload
          .computeIfAbsent(latency.workload(), w -> new LinkedHashMap<>())
          .put(latency.library(), latency.time());
    }
    byWorkload.forEach(
        (workload, times) ->
            line(
                "| %s, %s, %s | %s | %s |",
                Names.of(workload.kind()),
                workload.direction().label(),
                workload.shape(),
                Names.types(workload.dtype(), workload.weightType()),
                libraries.stream()
                    .map(name -> times.containsKey(name) ? time(times.get(name)) : "-")
                    .collect(Collectors.joining(" | "))));
    line("");
  }

  private void costs() {
    if (run.costs() == null) {
      return;
    }
    line("## The Java interface%n");
    line(
        "RMSNorm, float32. The count of bytes has JMH's own in it, some 8 KiB per iteration; the"
            + " smallest object has 16 bytes.%n");
    line("| | threads | ns | native ns | ns over native | bytes allocated |");
    line("|---|---|---|---|---|---|");
    for (JavaCost cost : run.costs()) {
      line(
          "| %s | %d | %.0f | %s | %s | %.2f |",
          cost.call(),
          cost.threads(),
          cost.nanos(),
          nanos(cost.bareNanos()),
          nanos(cost.overNative()),
          cost.bytes());
    }
    line("");
  }

  private void absences() {
    Map<String, List<String>> byReason = new LinkedHashMap<>();
    for (Measurement measurement : run.table()) {
      Workload workload = measurement.workload();
      measurement
          .absences()
          .forEach(
              (library, reason) ->
                  byReason
                      .computeIfAbsent(library + ": " + reason, r -> new ArrayList<>())
                      .add(
                          Names.of(workload.kind())
                              + " "
                              + workload.direction().label()
                              + " "
                              + Names.types(workload.dtype(), workload.weightType())));
    }
    if (byReason.isEmpty()) {
      return;
    }
    line("## Absent%n");
    byReason.forEach(
        (reason, where) ->
            line("- %s (%s)", reason, where.stream().distinct().collect(Collectors.joining("; "))));
  }

  private static String share(double value) {
    return String.format(Locale.ROOT, "%.2f", value);
  }

  private static String nanos(@Nullable Double value) {
    return value == null ? "-" : String.format(Locale.ROOT, "%.0f", value);
  }

  private static String time(Summary time) {
    double median = time.median();
    double unit = median < 1e6 ? 1e3 : 1e6;
    return String.format(
        Locale.ROOT,
        median / unit < 100 ? "%.2f [%.2f, %.2f] %s" : "%.0f [%.0f, %.0f] %s",
        median / unit,
        time.q1() / unit,
        time.q3() / unit,
        unit == 1e6 ? "ms" : "us");
  }
}
