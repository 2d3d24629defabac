package org.normcore.cli.audit;

import com.google.common.collect.ImmutableMap;
import com.google.common.io.Resources;
import com.google.gson.Gson;
import com.google.gson.JsonObject;
import com.samskivert.mustache.Mustache;
import java.io.IOException;
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import org.normcore.Device;
import org.normcore.Normcore;
import org.normcore.VectorLevel;
import org.normcore.cli.DeviceNames;
import org.normcore.cli.OptionNames;

/** A report as one self-contained HTML page with style, charts and numbers. */
final class ReportPage {
  private static final String CHARTS =
      "META-INF/resources/webjars/echarts/5.5.0/echarts.common.min.js";

  private final Map<String, Object> values = new LinkedHashMap<>();

  /** Makes a page with the data of its charts and its command line. */
  ReportPage(JsonObject json, String commandLine) {
    // Gson escapes <, > and &, so names in the data cannot end the script element.
    values.put("data", new Gson().toJson(json));
    values.put("command", commandLine);
  }

  /** Sets the value of a name in the template. */
  ReportPage put(String name, Object value) {
    values.put(name, value instanceof String text ? unbroken(text) : value);
    return this;
  }

  /** Renders a template with the script of the same name. */
  String html(String name) throws IOException {
    values.put("style", own("report.css"));
    values.put(
        "charts",
        Resources.toString(Resources.getResource(CHARTS), StandardCharsets.UTF_8)
            + "\n</script>\n<script>\n"
            + own("charts.js"));
    values.put("script", own(name + ".js"));
    return Mustache.compiler()
        .emptyStringIsFalse(true)
        .defaultValue("")
        .withLoader(part -> new StringReader(own(part + ".mustache")))
        .compile(own(name + ".mustache"))
        .execute(values);
  }

  private static String own(String name) throws IOException {
    return Resources.toString(
        Resources.getResource(ReportPage.class, name), StandardCharsets.UTF_8);
  }

  /** Puts a no-break space before percent signs. */
  static String unbroken(String text) {
    return text.replace(" %", "\u00a0%");
  }

  /** A fact in the page's header. */
  static Map<String, String> fact(String name, String value) {
    return ImmutableMap.of("name", name, "value", value);
  }

  /** The version and the device of the computation. */
  static Map<String, String> versionFact(Device device) {
    return fact(
        "normcore",
        Normcore.version()
            + ", "
            + (device.isCpu() ? OptionNames.of(VectorLevel.best()) : DeviceNames.text(device)));
  }
}
