package org.normcore.testing;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import de.erichseifert.vectorgraphics2d.VectorGraphics2D;
import java.awt.Font;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategorySeries.CategorySeriesRenderStyle;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.style.markers.SeriesMarkers;

@Tag("bench")
class SvgTest {
  private static final int WIDTH = 300;
  private static final int HEIGHT = 200;

  private final VectorGraphics2D graphics = new VectorGraphics2D();

  @Test
  void curvesAreSingleElements() {
    XYChart chart = new XYChart(WIDTH, HEIGHT);
    chart
        .addSeries("s", new double[] {0, 1, 2, 3}, new double[] {0, 2, 1, 3})
        .setMarker(SeriesMarkers.NONE);
    chart.paint(graphics, WIDTH, HEIGHT);
    List<Integer> points = points();
    assertTrue(points.contains(4), points.toString());
    assertTrue(points.stream().allMatch(n -> n == 2 || n == 4), points.toString());
  }

  @Test
  void labelsAreText() {
    CategoryChart chart = new CategoryChart(WIDTH, HEIGHT);
    chart.setTitle("Time, in .1 ms (il1|I): \"x\"");
    chart.getStyler().setXAxisLabelRotation(45);
    chart.getStyler().setDefaultSeriesRenderStyle(CategorySeriesRenderStyle.Line);
    chart.getStyler().setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.ITALIC, 9));
    chart.addSeries("s", List.of("32x4096", "a b"), List.of(0.5, 1.5));
    chart.paint(graphics, WIDTH, HEIGHT);
    String svg = svg();
    for (String label :
        List.of("Time, in .1 ms (il1|I): \"x\"", "32x4096", "a b", "0.5", "1.5", "s")) {
      assertTrue(svg.contains(">" + label + "</text>"), label + " in\n" + svg);
    }
    assertTrue(svg.contains("font-family:sans-serif"), svg);
    assertFalse(svg.contains(" Q"), "outlines of glyphs in\n" + svg);
    assertTrue(points().stream().allMatch(n -> n >= 2), points().toString());
  }

  private String svg() {
    return Svg.text(graphics, WIDTH, HEIGHT, 1);
  }

  /** The number of points of each polyline. */
  private List<Integer> points() {
    return svg()
        .lines()
        .filter(element -> element.contains("<polyline"))
        .map(element -> element.replaceAll(".*points=\"([^\"]*)\".*", "$1").split(" ").length)
        .toList();
  }
}
