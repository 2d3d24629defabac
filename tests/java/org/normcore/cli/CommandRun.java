package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.PrintWriter;
import java.io.StringWriter;

/**
 * The result of one command in this process.
 *
 * @param status its exit status
 * @param out its standard output
 * @param err its standard error
 */
public record CommandRun(int status, String out, String err) {
  /** Runs a command. */
  public static CommandRun of(Object... args) {
    String[] words = new String[args.length];
    for (int i = 0; i < args.length; i++) {
      words[i] = args[i].toString();
    }
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    int status = Main.run(new PrintWriter(out), new PrintWriter(err), words);
    return new CommandRun(status, out.toString(), err.toString());
  }

  /** Runs a command that must succeed without output on standard error. */
  public static CommandRun succeeding(Object... args) {
    CommandRun run = of(args);
    assertEquals("", run.err);
    assertEquals(0, run.status);
    return run;
  }

  /**
   * Runs a command that must fail as invalid input, with one sentence that contains the text and no
   * other output.
   */
  public static CommandRun refused(String text, Object... args) {
    CommandRun run = of(args);
    assertTrue(run.err.contains(text), run.err);
    assertTrue(run.err.startsWith("normcore: "), run.err);
    assertEquals(1, run.err.lines().count(), run.err);
    assertFalse(run.err.contains("Exception"), run.err);
    assertEquals("", run.out);
    assertEquals(2, run.status);
    return run;
  }

  /** The one JSON document on standard output. */
  public JsonObject json() {
    return JsonParser.parseString(out).getAsJsonObject();
  }
}
