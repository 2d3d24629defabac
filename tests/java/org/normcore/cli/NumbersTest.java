package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;

/** Numbers and tables as text. */
class NumbersTest {
  @Test
  void percentagesAreNotRoundedToNoneOrAll() {
    assertEquals("0 %", Numbers.percent(0));
    assertEquals("100 %", Numbers.percent(1));
    assertEquals("25.40 %", Numbers.percent(0.25401));
    assertEquals("0.0008 %", Numbers.percent(8e-6));
    assertEquals("2.4e-05 %", Numbers.percent(2.4e-7));
    assertEquals("99.99999 %", Numbers.percent(1 - 1e-12));
  }

  @Test
  void numbersKeepThreeDigits() {
    assertEquals("0", Numbers.shortest(0));
    assertEquals("0.0625", Numbers.shortest(0.0625));
    assertEquals("0.00781", Numbers.shortest(0.0078125));
    assertEquals("123457", Numbers.shortest(123456.7));
    assertEquals("1.19e-07", Numbers.shortest(1.1920929e-7));
    assertEquals("Infinity", Numbers.shortest(Double.POSITIVE_INFINITY));
  }

  @Test
  void epsilonsAreWrittenAsUsual() {
    assertEquals("1e-5", Numbers.exact(1e-5));
    assertEquals("1.5625e-7", Numbers.exact(1.5625e-7));
    assertEquals("0.001", Numbers.exact(0.001));
  }

  @Test
  void columnsOfNumbersAreAlignedToTheRight() {
    StringWriter text = new StringWriter();
    TextTable table = new TextTable("name", "count");
    table.row("a", "7");
    table.row("long one", "123");
    table.print(new PrintWriter(text));
    assertEquals(
        "name      count\na             7\nlong one    123\n", text.toString().replace("\r", ""));
  }
}
