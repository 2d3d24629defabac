package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.normcore.cli.Numbers;

/** An audit of initial values as an HTML page. */
final class Fp8AuditHtml {
  private Fp8AuditHtml() {}

  static String of(Fp8Report report, JsonObject json, String commandLine) throws IOException {
    List<Map<String, String>> facts = new ArrayList<>();
    report
        .model()
        .ifPresent(
            model -> {
              facts.add(ReportPage.fact("model", model.toString()));
              facts.add(ReportPage.fact("weights", Integer.toString(report.cases().size())));
            });
    if (report.model().isEmpty()) {
      Fp8Report.Case first = report.cases().get(0);
      facts.add(ReportPage.fact("values", first.rows() + " x " + first.columns()));
      facts.add(ReportPage.fact("seed", Long.toString(report.seed())));
    }
    facts.add(ReportPage.versionFact(report.device()));
    List<Map<String, Object>> cases = new ArrayList<>();
    for (Fp8Report.Case c : report.worstFirst()) {
      List<Map<String, String>> cells = new ArrayList<>();
      c.losses().forEach((method, losses) -> cells.add(cell(method, losses)));
      cases.add(
          ImmutableMap.of(
              "name", c.name(), "shape", c.rows() + " x " + c.columns(), "cells", cells));
    }
    return new ReportPage(json, commandLine)
        .put("headline", report.headline())
        .put("conclusion", report.conclusion())
        .put("facts", facts)
        .put("formats", report.methods().stream().map(Fp8Method::format).distinct().toList())
        .put(
            "ways",
            report.methods().stream()
                .filter(method -> method.format().equals(report.methods().get(0).format()))
                .map(
                    method -> ImmutableMap.of("name", method.name(), "sentence", method.sentence()))
                .toList())
        .put("cases", cases)
        .html("fp8");
  }

  private static Map<String, String> cell(Fp8Method method, Fp8Losses losses) {
    return ImmutableMap.<String, String>builder()
        .put("format", method.format())
        .put("way", method.name())
        .put("zero", Numbers.percent(losses.zeroShare()))
        .put("saturated", Numbers.percent(losses.saturatedShare()))
        .put("rms", Numbers.percent(losses.rmsError()))
        .put("mean", Numbers.percent(losses.meanRelativeError()))
        .put("kept", Numbers.shortest(losses.keptError()))
        .buildOrThrow();
  }
}
