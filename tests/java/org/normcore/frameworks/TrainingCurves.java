package org.normcore.frameworks;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.reflect.TypeToken;
import de.erichseifert.vectorgraphics2d.VectorGraphics2D;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.geom.AffineTransform;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.normcore.DType;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.testing.Svg;

/**
 * Trains {@link CharModel} in bfloat16 under two policies from the same seed, and writes the losses
 * as a plot and as figures:
 *
 * <pre>{@code
 * mvn -Pbench verify -Dbench.main=org.normcore.frameworks.TrainingCurves \
 *     -Dbench.args="DIRECTORY STEPS"
 * }</pre>
 *
 * <p>Two trainings with any difference diverge, so the difference of the policies needs a baseline:
 * the first policy again, with one parameter changed to the next bfloat16. One seed is one sample,
 * so there are several seeds; the plot shows the root mean square of the differences.
 */
public final class TrainingCurves {
  private static final int SEEDS = 4;
  private static final int PANEL_WIDTH = 480;
  private static final int PANEL_HEIGHT = 320;
  private static final int LEGEND_HEIGHT = 60;
  private static final Font TEXT = new Font(Font.SANS_SERIF, Font.PLAIN, 11);
  private static final Font TITLE = new Font(Font.SANS_SERIF, Font.BOLD, 13);
  private static final Color INK = new Color(0x24292f);
  private static final Color GRID = new Color(0xd8dee4);

  /** Colours that are distinguishable with red-green colour blindness. */
  private static final List<Color> COLOURS =
      List.of(new Color(0xd55e00), new Color(0x0072b2), new Color(0x8c959f));

  private static final String FIRST = "TRANSFORMER_ENGINE";
  private static final String SECOND = "HUGGING_FACE_LLAMA";
  private static final String MOVED = FIRST + ", one number moved";

  private TrainingCurves() {}

  /**
   * Arguments: the output directory, by default {@code target/curves}, and the number of steps, by
   * default 200. With 0 steps it does not train, but draws the figures in the directory.
   */
  public static void main(String[] arguments) throws IOException {
    Path directory = Path.of(arguments.length > 0 ? arguments[0] : "target/curves");
    Path figures = directory.resolve("pytorch-bfloat16.json");
    int steps = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 200;
    if (steps > 0) {
      Files.createDirectories(directory);
      Files.writeString(figures, json(run(SEEDS, steps)));
    }
    Map<String, double[][]> losses = losses(Files.readString(figures));
    steps = losses.get(FIRST)[0].length;
    Files.writeString(directory.resolve("pytorch-bfloat16.svg"), svg(losses, steps));
    System.out.println(summary(losses, steps));
  }

  /** The losses of each variant, by seed and step. */
  static Map<String, double[][]> run(int seeds, int steps) {
    torch.set_num_threads(1);
    Map<String, double[][]> losses = new LinkedHashMap<>();
    losses.put(FIRST, losses(NormPolicy.TRANSFORMER_ENGINE, false, seeds, steps));
    losses.put(SECOND, losses(NormPolicy.HUGGING_FACE_LLAMA, false, seeds, steps));
    losses.put(MOVED, losses(NormPolicy.TRANSFORMER_ENGINE, true, seeds, steps));
    return losses;
  }

  private static double[][] losses(NormPolicy policy, boolean isMoved, int seeds, int steps) {
    double[][] losses = new double[seeds][steps];
    try (RmsNorm norm =
        RmsNorm.builder(CharModel.HIDDEN)
            .epsilon(1e-5)
            .input(DType.BFLOAT16)
            .policy(policy)
            .build()) {
      for (int seed = 0; seed < seeds; seed++) {
        try (CharModel model = new CharModel(ScalarType.BFloat16, NormKind.RMS_NORM, seed + 1)) {
          if (isMoved) {
            model.nudge();
          }
          for (int i = 0; i < steps; i++) {
            losses[seed][i] =
                model.step((kind, x, weight, bias) -> PyTorch.apply(norm, x, weight, bias));
          }
        }
      }
    }
    return losses;
  }

  /** The root mean square over the seeds of the difference of two variants, by step. */
  static double[] difference(double[][] a, double[][] b) {
    return IntStream.range(0, a[0].length)
        .mapToDouble(
            step ->
                Math.sqrt(
                    IntStream.range(0, a.length)
                        .mapToDouble(seed -> a[seed][step] - b[seed][step])
                        .map(d -> d * d)
                        .average()
                        .orElseThrow()))
        .toArray();
  }

  static String summary(Map<String, double[][]> losses, int steps) {
    double[][] first = losses.get(FIRST);
    double[] policies = difference(losses.get(SECOND), first);
    double[] moved = difference(losses.get(MOVED), first);
    StringBuilder text = new StringBuilder();
    for (int from = 0; from < steps; from += Math.max(1, steps / 4)) {
      int to = Math.min(steps, from + Math.max(1, steps / 4));
      text.append(
          String.format(
              Locale.ROOT,
              "steps %d to %d: loss %.3f, policies apart by %.2g, one moved number by %.2g%n",
              from,
              to - 1,
              mean(first, from, to),
              rms(policies, from, to),
              rms(moved, from, to)));
    }
    return text.toString();
  }

  private static double mean(double[][] losses, int from, int to) {
    double sum = 0;
    for (double[] seed : losses) {
      for (int i = from; i < to; i++) {
        sum += seed[i];
      }
    }
    return sum / losses.length / (to - from);
  }

  private static double rms(double[] values, int from, int to) {
    double sum = 0;
    for (int i = from; i < to; i++) {
      sum += values[i] * values[i];
    }
    return Math.sqrt(sum / (to - from));
  }

  static String json(Map<String, double[][]> losses) {
    JsonObject root = new JsonObject();
    losses.forEach(
        (way, seeds) -> {
          JsonArray all = new JsonArray();
          for (double[] seed : seeds) {
            JsonArray values = new JsonArray();
            for (double loss : seed) {
              values.add((float) loss);
            }
            all.add(values);
          }
          root.add(way, all);
        });
    return new GsonBuilder()
            .create()
            .toJson(root)
            .replace("],[", "],\n[")
            .replace("\":[[", "\":[\n[")
        + "\n";
  }

  /** Reads what {@link #json} wrote. */
  static Map<String, double[][]> losses(String json) {
    return new Gson().fromJson(json, new TypeToken<Map<String, double[][]>>() {});
  }

  static String svg(Map<String, double[][]> losses, int steps) {
    int width = 2 * PANEL_WIDTH;
    int height = PANEL_HEIGHT + LEGEND_HEIGHT;
    VectorGraphics2D graphics = new VectorGraphics2D();
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, width, height);
    XYChart loss = chart("Loss, first seed");
    // The wider line is visible on both sides of the other.
    add(loss, FIRST, losses.get(FIRST)[0], COLOURS.get(0), 5);
    add(loss, SECOND, losses.get(SECOND)[0], COLOURS.get(1), 1.2f);
    loss.paint(graphics, PANEL_WIDTH, PANEL_HEIGHT);
    XYChart apart = chart("Distance of the losses, rms of " + SEEDS + " seeds");
    apart.getStyler().setYAxisLogarithmic(true);
    apart.getStyler().setYAxisDecimalPattern("0E0");
    double[][] first = losses.get(FIRST);
    add(apart, SECOND, shown(difference(losses.get(SECOND), first)), COLOURS.get(1), 1.5f);
    add(apart, MOVED, shown(difference(losses.get(MOVED), first)), COLOURS.get(2), 1.5f);
    AffineTransform corner = graphics.getTransform();
    graphics.translate(PANEL_WIDTH, 0);
    apart.paint(graphics, PANEL_WIDTH, PANEL_HEIGHT);
    graphics.setTransform(corner);
    graphics.setFont(TEXT);
    int x = 20;
    List<String> ways = new ArrayList<>(losses.keySet());
    for (int i = 0; i < ways.size(); i++) {
      graphics.setColor(COLOURS.get(i));
      graphics.setStroke(new BasicStroke(2));
      graphics.drawLine(x, PANEL_HEIGHT + 16, x + 24, PANEL_HEIGHT + 16);
      graphics.setColor(INK);
      graphics.drawString(ways.get(i), x + 30, PANEL_HEIGHT + 20);
      x += 46 + graphics.getFontMetrics().stringWidth(ways.get(i));
    }
    graphics.drawString(
        String.format(
            Locale.ROOT,
            "Two-layer transformer, bfloat16, %d steps. Right: distance to %s, log scale.",
            steps,
            FIRST),
        20,
        PANEL_HEIGHT + 44);
    return Svg.text(graphics, width, height, 1);
  }

  /** A logarithmic axis shows equal losses at the bottom. */
  private static double[] shown(double[] difference) {
    return Arrays.stream(difference).map(d -> Math.max(d, 1e-6)).toArray();
  }

  private static XYChart chart(String title) {
    XYChart chart =
        new XYChartBuilder()
            .width(PANEL_WIDTH)
            .height(PANEL_HEIGHT)
            .title(title)
            .theme(Styler.ChartTheme.XChart)
            .build();
    XYStyler styler = chart.getStyler();
    styler.setLegendVisible(false);
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setPlotBackgroundColor(Color.WHITE);
    styler.setChartFontColor(INK);
    styler.setPlotGridLinesColor(GRID);
    // Solid, because XChart fills the outline of each dash.
    styler.setPlotGridLinesStroke(new BasicStroke(1));
    styler.setPlotBorderVisible(false);
    styler.setChartTitleFont(TITLE);
    styler.setAxisTickLabelsFont(TEXT);
    styler.setXAxisTickMarkSpacingHint(80);
    return chart;
  }

  private static void add(XYChart chart, String name, double[] values, Color colour, float width) {
    double[] steps = IntStream.range(0, values.length).asDoubleStream().toArray();
    XYSeries series = chart.addSeries(name, steps, values);
    series.setLineColor(colour);
    series.setLineStyle(new BasicStroke(width, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
    series.setMarker(SeriesMarkers.NONE);
  }
}
