package org.normcore.bench;

import de.erichseifert.vectorgraphics2d.VectorGraphics2D;
import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.geom.AffineTransform;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.CategorySeries;
import org.knowm.xchart.CategorySeries.CategorySeriesRenderStyle;
import org.knowm.xchart.style.CategoryStyler;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.markers.SeriesMarkers;
import org.normcore.DType;
import org.normcore.NormKind;
import org.normcore.testing.Svg;

/**
 * Ratios to memcpy's speed by shape, one panel per direction and type, as SVG: dark on an opaque
 * light background, readable on any page.
 */
final class Plot {
  private static final int PANEL_WIDTH = 470;
  private static final int PANEL_HEIGHT = 300;
  private static final int LEGEND_HEIGHT = 70;
  private static final Font TEXT = new Font(Font.SANS_SERIF, Font.PLAIN, 11);
  private static final Font TITLE = new Font(Font.SANS_SERIF, Font.BOLD, 13);
  private static final Color GROUND = Color.WHITE;
  private static final Color INK = new Color(0x24292f);
  private static final Color GRID = new Color(0xd8dee4);
  private static final BasicStroke LINE =
      new BasicStroke(2, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND);
  private static final List<Direction> DIRECTIONS = List.of(Direction.FORWARD, Direction.BACKWARD);
  private static final BasicStroke DASHES =
      new BasicStroke(1, BasicStroke.CAP_BUTT, BasicStroke.JOIN_MITER, 10, new float[] {4, 4}, 0);

  /** The copies, in the order of {@link Libraries#copies()}. */
  private static final List<BasicStroke> COPY_LINES = List.of(DASHES, LINE);

  /** Colours that are distinguishable with red-green colour blindness. */
  private static final List<Color> COLOURS =
      List.of(
          new Color(0xd55e00),
          new Color(0x0072b2),
          new Color(0x56b4e9),
          new Color(0x009e73),
          new Color(0xcc79a7));

  private Plot() {}

  /** The content of one plot. */
  record Subject(NormKind kind, int threads) {
    @Override
    public String toString() {
      return Names.of(kind) + "-" + threads + (threads == 1 ? "-thread" : "-threads");
    }
  }

  static List<Subject> subjects(Run run) {
    return run.table().stream()
        .filter(line -> DIRECTIONS.contains(line.workload().direction()))
        .map(line -> new Subject(line.workload().kind(), line.workload().threads()))
        .distinct()
        .toList();
  }

  static String svg(Run run, Subject subject) {
    List<Measurement> lines =
        run.table().stream()
            .filter(line -> line.workload().kind() == subject.kind())
            .filter(line -> line.workload().threads() == subject.threads())
            .filter(line -> line.workload().dtype() == line.workload().weightType())
            .toList();
    List<DType> dtypes =
        lines.stream().map(line -> line.workload().dtype()).distinct().sorted().toList();
    List<Direction> directions =
        DIRECTIONS.stream()
            .filter(
                direction ->
                    lines.stream().anyMatch(line -> line.workload().direction() == direction))
            .toList();
    int width = PANEL_WIDTH * Math.max(2, dtypes.size());
    int height = PANEL_HEIGHT * Math.max(1, directions.size()) + LEGEND_HEIGHT;
    VectorGraphics2D graphics = new VectorGraphics2D();
    graphics.setColor(GROUND);
    graphics.fillRect(0, 0, width, height);
    for (int row = 0; row < directions.size(); row++) {
      for (int column = 0; column < dtypes.size(); column++) {
        Direction direction = directions.get(row);
        DType dtype = dtypes.get(column);
        List<Measurement> panel =
            lines.stream()
                .filter(line -> line.workload().direction() == direction)
                .filter(line -> line.workload().dtype() == dtype)
                .toList();
        AffineTransform corner = graphics.getTransform();
        graphics.translate(column * PANEL_WIDTH, row * PANEL_HEIGHT);
        if (!panel.isEmpty()) {
          chart(run, direction.label() + ", " + Names.of(dtype), panel)
              .paint(graphics, PANEL_WIDTH, PANEL_HEIGHT);
        }
        graphics.setTransform(corner);
      }
    }
    legend(graphics, run, subject, height - LEGEND_HEIGHT);
    return Svg.text(graphics, width, height, 1);
  }

  private static CategoryChart chart(Run run, String title, List<Measurement> lines) {
    CategoryChart chart =
        new CategoryChartBuilder()
            .width(PANEL_WIDTH)
            .height(PANEL_HEIGHT)
            .title(title)
            .theme(Styler.ChartTheme.XChart)
            .build();
    style(chart.getStyler());
    List<String> shapes = lines.stream().map(line -> line.workload().shape().toString()).toList();
    List<String> libraries = new ArrayList<>(run.libraries().keySet());
    for (int i = 0; i < libraries.size(); i++) {
      String library = libraries.get(i);
      List<Double> shares =
          lines.stream()
              .map(
                  line ->
                      line.times().containsKey(library) ? (Double) line.ofMemcpy(library) : null)
              .toList();
      if (shares.stream().anyMatch(share -> share != null)) {
        add(chart, library, shapes, shares, COLOURS.get(i % COLOURS.size()));
      }
    }
    List<Double> memcpy = lines.stream().map(line -> 1.0).toList();
    List<Double> streaming =
        lines.stream().map(line -> line.memcpy().median() / line.streaming().median()).toList();
    add(chart, CopyLibrary.MEMCPY.name(), shapes, memcpy, Color.GRAY)
        .setMarker(SeriesMarkers.NONE)
        .setLineStyle(COPY_LINES.get(0));
    add(chart, CopyLibrary.STREAMING.name(), shapes, streaming, Color.GRAY)
        .setMarker(SeriesMarkers.NONE)
        .setLineStyle(COPY_LINES.get(1));
    return chart;
  }

  private static CategorySeries add(
      CategoryChart chart, String name, List<String> shapes, List<Double> shares, Color colour) {
    CategorySeries series = chart.addSeries(name, shapes, shares);
    series.setLineColor(colour);
    series.setMarkerColor(colour);
    series.setFillColor(colour);
    series.setLineStyle(LINE);
    series.setMarker(SeriesMarkers.CIRCLE);
    return series;
  }

  private static void style(CategoryStyler styler) {
    styler.setDefaultSeriesRenderStyle(CategorySeriesRenderStyle.Line);
    styler.setOverlapped(true);
    styler.setLegendVisible(false);
    styler.setChartBackgroundColor(GROUND);
    styler.setPlotBackgroundColor(GROUND);
    styler.setChartFontColor(INK);
    styler.setPlotGridLinesColor(GRID);
    // Solid, because XChart fills the outline of each dash.
    styler.setPlotGridLinesStroke(new BasicStroke(1));
    styler.setPlotBorderVisible(false);
    styler.setChartTitleFont(TITLE);
    styler.setAxisTickLabelsFont(TEXT);
    styler.setXAxisLabelRotation(45);
    // Labels every shape, even if labels are close.
    styler.setXAxisTickMarkSpacingHint(1);
    styler.setYAxisMin(0.0);
    styler.setYAxisDecimalPattern("0.0");
    styler.setMarkerSize(6);
  }

  private static void legend(VectorGraphics2D graphics, Run run, Subject subject, int top) {
    graphics.setFont(TEXT);
    int x = 20;
    List<String> libraries = new ArrayList<>(run.libraries().keySet());
    for (int i = 0; i < libraries.size(); i++) {
      x = entry(graphics, libraries.get(i), COLOURS.get(i % COLOURS.size()), LINE, x, top);
    }
    for (int i = 0; i < COPY_LINES.size(); i++) {
      String name = Libraries.copies().get(i).name();
      x = entry(graphics, name, Color.GRAY, COPY_LINES.get(i), x, top);
    }
    graphics.drawString(
        String.format(
            Locale.ROOT,
            "%s, threads: %d. Share of memcpy's speed, rows x hidden size. %s, %s.",
            Names.of(subject.kind()),
            subject.threads(),
            run.machine().get("cpu"),
            run.machine().get("date")),
        20,
        top + 50);
  }

  /** Returns the position of the next entry. */
  private static int entry(
      VectorGraphics2D graphics, String name, Color colour, BasicStroke stroke, int x, int top) {
    graphics.setColor(colour);
    graphics.setStroke(stroke);
    graphics.drawLine(x, top + 20, x + 24, top + 20);
    graphics.setColor(INK);
    graphics.drawString(name, x + 30, top + 24);
    return x + 46 + graphics.getFontMetrics().stringWidth(name);
  }
}
