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
 * A million rounds of forward and backward, of opened and closed objects, and of refused calls leak
 * no memory.
 *
 * <p>The measure is the resident memory of a separate JVM with a pre-touched heap. The JVM's own
 * memory, mainly compiled code, may grow by 1 MB. The smallest block of malloc takes 32 bytes, so
 * one leaked block per round is 2 MB or more in each kind of round.
 */
class LeakTest {
  private static final int ROUNDS_PER_NORM = 500_000;
  private static final long BOUND = 1 << 20;

  @Test
  @EnabledOnOs(OS.LINUX)
  void residentMemoryDoesNotGrow() throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(
                System.getProperty("java.home") + File.separator + "bin" + File.separator + "java",
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                // JavaCPP refuses to allocate in a process above this size, so no call may need a
                // JavaCPP allocation.
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
