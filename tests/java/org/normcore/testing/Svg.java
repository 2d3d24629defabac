package org.normcore.testing;

import de.erichseifert.vectorgraphics2d.VectorGraphics2D;
import de.erichseifert.vectorgraphics2d.svg.SVGProcessor;
import de.erichseifert.vectorgraphics2d.util.PageSize;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;

/** Plots as text. */
public final class Svg {
  private Svg() {}

  /**
   * Returns the drawing, with decimals limited to the visible resolution and the reader's default
   * font.
   */
  public static String text(VectorGraphics2D graphics, int width, int height, int digits) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try {
      new SVGProcessor()
          .getDocument(graphics.getCommands(), new PageSize(0, 0, width, height))
          .writeTo(out);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return out.toString(StandardCharsets.UTF_8)
        .replaceAll("(\\.\\d{" + digits + "})\\d+", "$1")
        .replaceAll("font-family:&quot;[^&]*&quot;", "font-family:sans-serif");
  }
}
