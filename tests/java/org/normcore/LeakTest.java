package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;

/**
 * Nothing is left behind by a million rounds of forward and backward, nor by objects that were
 * opened and closed, or calls that were refused.
 *
 * <p>Measured as resident memory of a JVM of its own, whose heap is all in memory from the start.
 * What may grow is the JVM's own memory, compiled code foremost: 1 MB. The smallest block of malloc
 * takes 32 bytes, so one lost block per round is 2 MB and more in each kind of round.
 */
class LeakTest {
  private static final int ROUNDS_PER_NORM = 500_000;
  private static final long BOUND = 1 << 20;

  @Test
  @EnabledOnOs(OS.LINUX)
  void residentMemoryStaysAsItIs() throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(
                System.getProperty("java.home") + File.separator + "bin" + File.separator + "java",
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                // JavaCPP refuses to allocate in a process above this size, so nothing may need
                // that.
                "-Dorg.bytedeco.javacpp.maxphysicalbytes=1m",
                "-Dorg.bytedeco.javacpp.cachedir="
                    + System.getProperty("org.bytedeco.javacpp.cachedir", ""),
                "-cp",
                System.getProperty(
                    "surefire.test.class.path", System.getProperty("java.class.path")),
                LeakRounds.class.getName(),
                String.valueOf(ROUNDS_PER_NORM))
            .redirectErrorStream(true)
            .start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertEquals(0, process.waitFor(), output);
    List<String> lines = output.lines().filter(line -> line.contains("\t")).toList();
    assertFalse(lines.isEmpty(), output);
    assertEquals(8, lines.size(), output);
    for (String line : lines) {
      long grown = Long.parseLong(line.split("\t")[2]);
      assertTrue(grown < BOUND, "kind, rounds, bytes grown: " + line);
    }
  }
}
