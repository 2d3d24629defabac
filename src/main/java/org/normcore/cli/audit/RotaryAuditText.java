package org.normcore.cli.audit;

import java.io.PrintWriter;
import java.util.List;
import java.util.OptionalLong;
import org.normcore.DType;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;
import org.normcore.cli.RotaryText;
import org.normcore.cli.TextTable;

/** An audit of rotary tables for a terminal. */
final class RotaryAuditText {
  /** Positions of the table by position. */
  private static final List<Long> SHOWN =
      List.of(
          1L,
          256L,
          257L,
          2047L,
          2049L,
          8192L + 32,
          32768L + 128,
          65535L,
          65536L + 256,
          131071L,
          (1L << 24) + 1,
          1L << 32,
          1L << 40);

  private RotaryAuditText() {}

  static void print(RotaryReport report, PrintWriter out) {
    out.println(
        "Rotary tables of "
            + report.spec().rotaryDim() / 2
            + " pairs, "
            + RotaryText.frequencies(report.spec())
            + ", at "
            + report.positionCount()
            + " positions; random heads, seed "
            + report.seed()
            + ".");
    out.println();
    TextTable table =
        new TextTable(
            "method",
            "positions kept",
            "first wrong",
            "first lost",
            "radians",
            "table",
            "cos/sin error",
            "ulp",
            "score error");
    for (RotaryReport.Method method : report.methods()) {
      for (DType dtype : report.dtypes()) {
        RotaryReport.TableError error = method.tables().get(dtype);
        table.row(
            method.name(),
            Long.toString(method.distinct()),
            position(method.firstWrong()),
            position(method.firstLost()),
            number(method.radians(report.positionCount())),
            OptionNames.of(dtype),
            number(error.error().maxAbs()),
            number(error.error().maxUlp()),
            number(error.maxScore()));
      }
    }
    table.print(out);
    out.println();
    printByPosition(report, out);
    out.println();
    out.println(report.conclusion());
  }

  private static void printByPosition(RotaryReport report, PrintWriter out) {
    out.println("Largest error of an angle by position, in radians; - for NaN:");
    String[] header = new String[report.methods().size() + 1];
    header[0] = "position";
    for (int i = 1; i < header.length; i++) {
      header[i] = report.methods().get(i - 1).name();
    }
    TextTable table = new TextTable(header);
    for (long position : SHOWN) {
      String[] cells = new String[header.length];
      cells[0] = Long.toString(position);
      boolean any = false;
      for (int i = 1; i < header.length; i++) {
        cells[i] = "";
        for (RotaryReport.Point point : report.methods().get(i - 1).points()) {
          if (point.position() == position) {
            cells[i] = number(point.radians());
            any = true;
          }
        }
      }
      if (any) {
        table.row(cells);
      }
    }
    table.print(out);
  }

  private static String position(OptionalLong position) {
    return position.isPresent() ? Long.toString(position.getAsLong()) : "-";
  }

  private static String number(double value) {
    return Double.isFinite(value) ? Numbers.shortest(value) : "-";
  }
}
