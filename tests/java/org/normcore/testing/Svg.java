package org.normcore.testing;

import de.erichseifert.vectorgraphics2d.VectorGraphics2D;
import de.erichseifert.vectorgraphics2d.intermediate.CommandSequence;
import de.erichseifert.vectorgraphics2d.intermediate.MutableCommandSequence;
import de.erichseifert.vectorgraphics2d.intermediate.commands.Command;
import de.erichseifert.vectorgraphics2d.intermediate.commands.DrawStringCommand;
import de.erichseifert.vectorgraphics2d.intermediate.commands.FillShapeCommand;
import de.erichseifert.vectorgraphics2d.intermediate.commands.RotateCommand;
import de.erichseifert.vectorgraphics2d.intermediate.commands.SetFontCommand;
import de.erichseifert.vectorgraphics2d.svg.SVGProcessor;
import de.erichseifert.vectorgraphics2d.util.PageSize;
import java.awt.geom.AffineTransform;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Plots as text. */
public final class Svg {
  /** The angles of XChart's labels in degrees. */
  private static final int[] ANGLES = {0, -45};

  private static final Pattern LINE =
      Pattern.compile(
          " *<line style=\"(?<style>[^\"]*)\" x1=\"(?<x1>[^\"]*)\" x2=\"(?<x2>[^\"]*)\""
              + " y1=\"(?<y1>[^\"]*)\" y2=\"(?<y2>[^\"]*)\"/>");

  private Svg() {}

  /**
   * Returns the drawing, with labels as text in the reader's default font, a curve as one element
   * and decimals limited to the visible resolution.
   */
  public static String text(VectorGraphics2D graphics, int width, int height, int digits) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      new SVGProcessor()
          .getDocument(withLabels(graphics), new PageSize(0, 0, width, height))
          .writeTo(out);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return withCurves(
        out.toString(StandardCharsets.UTF_8)
            .replaceAll("(\\.\\d{" + digits + "})\\d+", "$1")
            .replaceAll("font-family:&quot;[^&]*&quot;", "font-family:sans-serif"));
  }

  /** XChart draws a curve as separate lines: joins consecutive lines to one polyline. */
  private static String withCurves(String svg) {
    StringBuilder text = new StringBuilder();
    String style = "";
    List<String> points = new ArrayList<>();
    for (String element : svg.split("\n")) {
      Matcher line = LINE.matcher(element);
      boolean isLine = line.matches();
      String begin = isLine ? line.group("x1") + "," + line.group("y1") : "";
      boolean continues =
          isLine
              && !points.isEmpty()
              && line.group("style").equals(style)
              && begin.equals(points.get(points.size() - 1));
      if (!continues && !points.isEmpty()) {
        text.append("    <polyline points=\"" + String.join(" ", points) + "\"");
        text.append(" style=\"" + style + "\"/>\n");
        points.clear();
      }
      if (isLine) {
        style = line.group("style");
        if (!continues) {
          points.add(begin);
        }
        points.add(line.group("x2") + "," + line.group("y2"));
      } else {
        text.append(element).append('\n');
      }
    }
    return text.toString();
  }

  /** XChart fills the outlines of its labels: converts them back to text. */
  private static CommandSequence withLabels(VectorGraphics2D graphics) {
    MutableCommandSequence commands = new MutableCommandSequence();
    OutlineText labels = new OutlineText(graphics.getFont(), graphics.getFontRenderContext());
    for (Command<?> command : graphics.getCommands()) {
      if (command instanceof SetFontCommand set) {
        labels = new OutlineText(set.getValue(), graphics.getFontRenderContext());
      }
      if (!(command instanceof FillShapeCommand fill && add(commands, fill, labels))) {
        commands.add(command);
      }
    }
    return commands;
  }

  /** Adds a label as text, if the filled shape is one. */
  private static boolean add(
      MutableCommandSequence commands, FillShapeCommand fill, OutlineText labels) {
    for (int angle : ANGLES) {
      double theta = Math.toRadians(angle);
      String label =
          labels.read(
              AffineTransform.getRotateInstance(-theta).createTransformedShape(fill.getValue()));
      if (!label.isEmpty()) {
        commands.add(new RotateCommand(theta, 0, 0));
        commands.add(new DrawStringCommand(label, 0, 0));
        commands.add(new RotateCommand(-theta, 0, 0));
        return true;
      }
    }
    return false;
  }
}
