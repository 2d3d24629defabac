package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.stream.Collectors;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;
import org.normcore.cli.RotaryText;

/** An audit of rotary tables as an HTML page. */
final class RotaryAuditHtml {
  private RotaryAuditHtml() {}

  static String of(RotaryReport report, JsonObject json, String commandLine) throws IOException {
    return new ReportPage(json, commandLine)
        .put("headline", report.headline())
        .put("conclusion", report.conclusion())
        .put("facts", facts(report))
        .put(
            "ways",
            report.methods().stream()
                .map(
                    method -> ImmutableMap.of("name", method.name(), "sentence", method.sentence()))
                .toList())
        .put("tables", report.dtypes().stream().map(dtype -> table(report, dtype)).toList())
        .html("rotary");
  }

  private static List<Map<String, String>> facts(RotaryReport report) {
    List<Map<String, String>> facts = new ArrayList<>();
    report.config().ifPresent(config -> facts.add(ReportPage.fact("config", config.toString())));
    facts.add(ReportPage.fact("frequencies", RotaryText.frequencies(report.spec())));
    facts.add(
        ReportPage.fact(
            "rotary of head",
            report.spec().rotaryDim() + " of " + report.spec().headDim() + " elements"));
    facts.add(ReportPage.fact("positions", Long.toString(report.positionCount())));
    facts.add(
        ReportPage.fact(
            "tables in",
            report.dtypes().stream().map(OptionNames::of).collect(Collectors.joining(", "))));
    facts.add(ReportPage.fact("seed", Long.toString(report.seed())));
    facts.add(ReportPage.versionFact(Device.CPU));
    return facts;
  }

  private static Map<String, Object> table(RotaryReport report, DType dtype) {
    List<Map<String, String>> rows = new ArrayList<>();
    for (RotaryReport.Method method : report.methods()) {
      RotaryReport.TableError error = method.tables().get(dtype);
      rows.add(
          ImmutableMap.<String, String>builder()
              .put("name", method.name())
              .put("distinct", Long.toString(method.distinct()))
              .put("firstWrong", position(method.firstWrong()))
              .put("firstLost", position(method.firstLost()))
              .put("radians", number(method.radians(report.positionCount())))
              .put("abs", number(error.error().maxAbs()))
              .put("ulp", number(error.error().maxUlp()))
              .put("score", number(error.maxScore()))
              .put("rms", number(error.rmsScore()))
              .buildOrThrow());
    }
    return ImmutableMap.of("dtype", OptionNames.of(dtype), "rows", rows);
  }

  private static String position(OptionalLong position) {
    return position.isPresent() ? Long.toString(position.getAsLong()) : "none";
  }

  private static String number(double value) {
    return Double.isFinite(value) ? Numbers.shortest(value) : "not a number";
  }
}
