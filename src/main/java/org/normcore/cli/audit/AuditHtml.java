package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.normcore.DType;
import org.normcore.NormPolicy;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;
import org.normcore.cli.PolicyText;
import org.normcore.cli.compare.Comparison;

/** An audit of norms as an HTML page. */
final class AuditHtml {
  private AuditHtml() {}

  static String of(AuditReport report, JsonObject json, String commandLine) throws IOException {
    return new ReportPage(json, commandLine)
        .put("headline", report.headline())
        .put("conclusion", report.conclusion())
        .put("model", report.model().map(ModelFacts::sentence).orElse(""))
        .put("note", report.model().flatMap(ModelFacts::family).map(f -> f.note()).orElse(""))
        .put("facts", facts(report))
        .put("sections", report.dtypes().stream().map(dtype -> section(report, dtype)).toList())
        .put("recorded", recorded(report))
        .put("policies", report.policies().stream().map(AuditHtml::policy).toList())
        .html("report");
  }

  private static List<Map<String, String>> facts(AuditReport report) {
    List<Map<String, String>> facts = new ArrayList<>();
    report
        .model()
        .ifPresent(
            model -> facts.add(ReportPage.fact("model", model.path().getFileName().toString())));
    report
        .model()
        .ifPresent(
            model -> facts.add(ReportPage.fact("norms", Integer.toString(model.norms().size()))));
    report.cases().stream()
        .findFirst()
        .ifPresent(
            c -> {
              facts.add(ReportPage.fact("op", OptionNames.of(c.kind())));
              facts.add(ReportPage.fact("rows x hidden", c.rows() + " x " + c.hiddenSize()));
              facts.add(ReportPage.fact("hidden states", c.drawn() ? "drawn" : "recorded"));
            });
    facts.add(
        ReportPage.fact(
            "dtype",
            report.dtypes().stream().map(OptionNames::of).collect(Collectors.joining(", "))));
    facts.add(ReportPage.fact("epsilon", Numbers.exact(report.epsilon())));
    facts.add(ReportPage.fact("seed", Long.toString(report.seed())));
    facts.add(ReportPage.versionFact(report.device()));
    return facts;
  }

  private static Map<String, Object> section(AuditReport report, DType dtype) {
    List<Map<String, Object>> pairs = new ArrayList<>();
    List<String> checks = new ArrayList<>();
    for (PolicyComparison compared : report.policyComparisons()) {
      if (compared.dtype() == dtype) {
        if (compared.isCheck()) {
          checks.add(compared.sentence());
        } else {
          pairs.add(pair(compared));
        }
      }
    }
    return ImmutableMap.of("dtype", OptionNames.of(dtype), "pairs", pairs, "checks", checks);
  }

  private static Map<String, Object> pair(PolicyComparison compared) {
    Map<String, Object> pair = new LinkedHashMap<>();
    pair.put("a", compared.a());
    pair.put("b", compared.b());
    pair.put("dtype", OptionNames.of(compared.dtype()));
    pair.put("equal", compared.isEqual());
    pair.put("different", !compared.isEqual());
    pair.put("several", compared.cases().size() > 1 && !compared.isEqual());
    pair.put("sentence", ReportPage.unbroken(compared.sentence()));
    List<Map<String, String>> tiles = new ArrayList<>();
    compared.tensors().forEach((name, comparison) -> tiles.add(tile(name, comparison)));
    pair.put("tiles", tiles);
    List<Map<String, Object>> norms = new ArrayList<>();
    for (AuditCase c : compared.cases()) {
      List<Map<String, String>> cells = new ArrayList<>();
      c.tensors().forEach((name, comparison) -> cells.add(tile(name, comparison)));
      norms.add(
          ImmutableMap.of(
              "norm", c.norm(), "shape", c.rows() + " x " + c.hiddenSize(), "cells", cells));
    }
    pair.put("norms", norms);
    return pair;
  }

  private static Map<String, String> tile(String name, Comparison comparison) {
    return ImmutableMap.of(
        "tensor", name,
        "share", Numbers.percent(comparison.differingShare()),
        "beyond", Numbers.percent(comparison.beyondShare()),
        "maxAbs", Numbers.shortest(comparison.maxAbs()),
        "maxUlp", Long.toString(comparison.maxUlp()));
  }

  private static List<Map<String, Object>> recorded(AuditReport report) {
    if (report.recorded().isEmpty()) {
      return List.of();
    }
    String policy = OptionNames.of(report.policies().get(0));
    List<Map<String, String>> rows = new ArrayList<>();
    for (RecordedCase c : report.recorded()) {
      if (c.policy().equals(policy)) {
        rows.add(
            ImmutableMap.of(
                "norm", c.norm(),
                "recordedMax", Numbers.shortest(c.recorded().max()),
                "normcoreMax", Numbers.shortest(c.normcore().max()),
                "doubleMax", Numbers.shortest(c.normcoreFloat64().max()),
                "recordedRms", Numbers.shortest(c.recorded().rms()),
                "normcoreRms", Numbers.shortest(c.normcore().rms()),
                "doubleRms", Numbers.shortest(c.normcoreFloat64().rms())));
      }
    }
    return List.of(
        ImmutableMap.of(
            "policy", policy, "sentence", report.recordedSentence().orElse(""), "rows", rows));
  }

  private static Map<String, String> policy(NormPolicy policy) {
    return ImmutableMap.of(
        "name",
        OptionNames.of(policy),
        "sentence",
        PolicyText.sentence(policy),
        "formula",
        PolicyText.formula(policy));
  }
}
