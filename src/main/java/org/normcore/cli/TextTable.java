package org.normcore.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/** A text table: columns fit their contents; numbers are right-aligned. */
public final class TextTable {
  private final String[] header;
  private final List<String[]> rows = new ArrayList<>();

  /** A table with these column heads. */
  public TextTable(String... header) {
    this.header = header.clone();
  }

  /** Adds a row with one cell per column. */
  public void row(String... cells) {
    if (cells.length != header.length) {
      throw new IllegalArgumentException("cells: " + cells.length + "; expected " + header.length);
    }
    rows.add(cells.clone());
  }

  /** Prints head and rows. */
  public void print(PrintWriter out) {
    int[] widths = new int[header.length];
    boolean[] numeric = new boolean[header.length];
    for (int column = 0; column < header.length; column++) {
      widths[column] = header[column].length();
      numeric[column] = !rows.isEmpty();
      for (String[] row : rows) {
        widths[column] = Math.max(widths[column], row[column].length());
        numeric[column] &= row[column].matches("[-+]?[0-9].*|-|");
      }
    }
    print(out, header, widths, numeric);
    for (String[] row : rows) {
      print(out, row, widths, numeric);
    }
  }

  private static void print(PrintWriter out, String[] cells, int[] widths, boolean[] numeric) {
    StringBuilder line = new StringBuilder();
    for (int column = 0; column < cells.length; column++) {
      String padding = " ".repeat(widths[column] - cells[column].length());
      line.append(column == 0 ? "" : "  ");
      line.append(numeric[column] ? padding + cells[column] : cells[column] + padding);
    }
    out.println(line.toString().stripTrailing());
  }
}
