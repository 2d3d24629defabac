package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import com.google.common.io.Resources;
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.samskivert.mustache.Mustache;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.normcore.DType;
import org.normcore.NormPolicy;
import org.normcore.Normcore;
import org.normcore.VectorLevel;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;
import org.normcore.cli.PolicyText;
import org.normcore.cli.compare.Comparison;
import org.normcore.cli.safetensors.AtomicFile;

/**
 * An audit's result as one HTML file that needs nothing else: style, charts and numbers are in it.
 */
final class AuditHtml {
  private static final String CHARTS =
      "META-INF/resources/webjars/echarts/5.5.0/echarts.common.min.js";

  private AuditHtml() {}

  static void write(AuditReport report, JsonObject json, String commandLine, Path file)
      throws IOException {
    Map<String, Object> page = new LinkedHashMap<>();
    page.put("style", own("report.css"));
    page.put("script", own("report.js"));
    page.put("charts", Resources.toString(Resources.getResource(CHARTS), StandardCharsets.UTF_8));
    // Gson's own escaping of <, > and & keeps names in the data from ending the script element.
    page.put("data", new Gson().toJson(json));
    page.put("headline", unbroken(report.headline()));
    page.put("conclusion", unbroken(report.conclusion()));
    page.put("model", report.model().map(ModelFacts::sentence).orElse(""));
    page.put("note", report.model().flatMap(ModelFacts::family).map(f -> f.note()).orElse(""));
    page.put("facts", facts(report));
    page.put("sections", report.dtypes().stream().map(dtype -> section(report, dtype)).toList());
    page.put("recorded", recorded(report));
    page.put("policies", report.policies().stream().map(AuditHtml::policy).toList());
    page.put("command", commandLine);
    String html =
        Mustache.compiler()
            .emptyStringIsFalse(true)
            .defaultValue("")
            .compile(own("report.mustache"))
            .execute(page);
    writeText(file, html);
  }

  static void writeText(Path file, String text) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
    AtomicFile.write(file, channel -> AtomicFile.writeFully(channel, bytes));
  }

  private static String own(String name) throws IOException {
    return Resources.toString(Resources.getResource(AuditHtml.class, name), StandardCharsets.UTF_8);
  }

  /** Keeps percent signs with their numbers. */
  private static String unbroken(String text) {
    return text.replace(" %", "\u00a0%");
  }

  private static List<Map<String, String>> facts(AuditReport report) {
    List<Map<String, String>> facts = new ArrayList<>();
    report
        .model()
        .ifPresent(model -> facts.add(fact("model", model.directory().getFileName().toString())));
    report.model().ifPresent(model -> facts.add(fact("norms", Integer.toString(model.norms()))));
    report.cases().stream()
        .findFirst()
        .ifPresent(
            c -> {
              facts.add(fact("op", OptionNames.of(c.kind())));
              facts.add(fact("rows x hidden", c.rows() + " x " + c.hiddenSize()));
              facts.add(fact("hidden states", c.drawn() ? "drawn" : "recorded"));
            });
    facts.add(
        fact(
            "dtype",
            report.dtypes().stream().map(OptionNames::of).collect(Collectors.joining(", "))));
    facts.add(fact("epsilon", Numbers.exact(report.epsilon())));
    facts.add(fact("seed", Long.toString(report.seed())));
    facts.add(
        fact(
            "normcore",
            Normcore.version()
                + ", "
                + (report.device().isCpu()
                    ? OptionNames.of(VectorLevel.best())
                    : DeviceNames.text(report.device()))));
    return facts;
  }

  private static Map<String, String> fact(String name, String value) {
    return ImmutableMap.of("name", name, "value", value);
  }

  private static Map<String, Object> section(AuditReport report, DType dtype) {
    List<Map<String, Object>> pairs = new ArrayList<>();
    List<String> checks = new ArrayList<>();
    for (Finding finding : report.findings()) {
      if (finding.dtype() == dtype) {
        if (finding.isCheck()) {
          checks.add(finding.sentence());
        } else {
          pairs.add(pair(finding));
        }
      }
    }
    return ImmutableMap.of("dtype", OptionNames.of(dtype), "pairs", pairs, "checks", checks);
  }

  private static Map<String, Object> pair(Finding finding) {
    Map<String, Object> pair = new LinkedHashMap<>();
    pair.put("a", finding.a());
    pair.put("b", finding.b());
    pair.put("dtype", OptionNames.of(finding.dtype()));
    pair.put("equal", finding.isEqual());
    pair.put("different", !finding.isEqual());
    pair.put("several", finding.cases().size() > 1 && !finding.isEqual());
    pair.put("sentence", unbroken(finding.sentence()));
    List<Map<String, String>> tiles = new ArrayList<>();
    finding.tensors().forEach((name, comparison) -> tiles.add(tile(name, comparison)));
    pair.put("tiles", tiles);
    List<Map<String, Object>> norms = new ArrayList<>();
    for (AuditCase c : finding.cases()) {
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
