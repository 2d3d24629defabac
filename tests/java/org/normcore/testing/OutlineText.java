package org.normcore.testing;

import java.awt.Font;
import java.awt.Shape;
import java.awt.font.FontRenderContext;
import java.awt.font.GlyphVector;
import java.awt.geom.PathIterator;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Reads text back from its outline: XChart fills the outlines of its labels. */
final class OutlineText {
  private static final double TOLERANCE = 0.01;

  private final FontRenderContext context;
  private final List<Glyph> glyphs = new ArrayList<>();
  private final double space;

  private record Glyph(char character, double advance, List<double[]> segments) {
    /** Whether the outline continues with this glyph, shifted along the line. */
    boolean isAt(int from, List<double[]> outline) {
      if (segments.isEmpty() || outline.size() - from < segments.size()) {
        return false;
      }
      double shift = shift(from, outline);
      for (int i = 0; i < segments.size(); i++) {
        double[] ours = segments.get(i);
        double[] theirs = outline.get(from + i);
        boolean isSame = ours.length == theirs.length;
        for (int k = 0; isSame && k < ours.length; k++) {
          isSame = Math.abs(ours[k] + (k % 2 == 0 ? shift : 0) - theirs[k]) < TOLERANCE;
        }
        if (!isSame) {
          return false;
        }
      }
      return true;
    }

    double shift(int from, List<double[]> outline) {
      return outline.get(from)[0] - segments.get(0)[0];
    }
  }

  OutlineText(Font font, FontRenderContext context) {
    this.context = context;
    for (char c = '!'; c <= '~'; c++) {
      glyphs.add(glyph(font, c));
    }
    space = glyph(font, ' ').advance();
  }

  private Glyph glyph(Font font, char character) {
    GlyphVector vector = font.createGlyphVector(context, new char[] {character});
    return new Glyph(
        character, vector.getGlyphMetrics(0).getAdvance(), segments(vector.getOutline()));
  }

  /** Returns the text; empty if the shape is not one of printable ASCII in this font. */
  String read(Shape shape) {
    List<double[]> outline = segments(shape);
    StringBuilder text = new StringBuilder();
    double end = 0;
    for (int at = 0; at < outline.size(); ) {
      // The outline of one glyph can begin with that of another.
      Glyph longest = null;
      for (Glyph glyph : glyphs) {
        if (glyph.isAt(at, outline)
            && (longest == null || glyph.segments().size() > longest.segments().size())) {
          longest = glyph;
        }
      }
      if (longest == null) {
        return "";
      }
      double begin = longest.shift(at, outline);
      text.append(begin - end > space / 2 ? " " : "").append(longest.character());
      end = begin + longest.advance();
      at += longest.segments().size();
    }
    return text.toString();
  }

  /** The points of each segment; the number of points tells its type well enough. */
  private static List<double[]> segments(Shape shape) {
    List<double[]> segments = new ArrayList<>();
    double[] points = new double[6];
    for (PathIterator i = shape.getPathIterator(null); !i.isDone(); i.next()) {
      int count =
          switch (i.currentSegment(points)) {
            case PathIterator.SEG_CLOSE -> 0;
            case PathIterator.SEG_QUADTO -> 4;
            case PathIterator.SEG_CUBICTO -> 6;
            default -> 2;
          };
      segments.add(Arrays.copyOf(points, count));
    }
    return segments;
  }
}
