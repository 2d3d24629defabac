package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.frameworks.Coexistence.DJL;
import static org.normcore.frameworks.Coexistence.ND4J;
import static org.normcore.frameworks.Coexistence.NORMCORE;
import static org.normcore.frameworks.Coexistence.PYTORCH;
import static org.normcore.frameworks.Coexistence.TENSORFLOW;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The native libraries that work in one process, each pair in both orders of loading. */
@Tag("other-frameworks")
class CoexistenceTest {
  private static final List<String> PASSED_ON =
      List.of("org.bytedeco.javacpp.cachedir", "ai.djl.offline", "DJL_CACHE_DIR");

  @TempDir private Path directory;

  @Test
  void besidePyTorchNd4jAndTensorFlow() throws Exception {
    assertLive(NORMCORE, PYTORCH, ND4J, TENSORFLOW);
    assertLive(TENSORFLOW, ND4J, PYTORCH, NORMCORE);
  }

  @Test
  void besideDjlNd4jAndTensorFlow() throws Exception {
    assertLive(NORMCORE, DJL, ND4J, TENSORFLOW);
    assertLive(TENSORFLOW, ND4J, DJL, NORMCORE);
  }

  /**
   * Both contain a libtorch, of different versions with the same name; see the guide on
   * compatibility.
   */
  @Test
  void djlAndPyTorchConflict() throws Exception {
    for (Coexistence[] pair : new Coexistence[][] {{DJL, PYTORCH}, {PYTORCH, DJL}}) {
      assertTrue(run(pair) != 0);
      assertTrue(output().contains("UnsatisfiedLinkError"), output());
    }
  }

  private void assertLive(Coexistence... order) throws IOException, InterruptedException {
    int status = run(order);
    assertEquals(0, status, output());
    assertTrue(output().contains("all " + order.length), output());
  }

  private int run(Coexistence... order) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    for (String name : PASSED_ON) {
      if (System.getProperty(name) != null) {
        command.add("-D" + name + "=" + System.getProperty(name));
      }
    }
    // Most of the time is start-up.
    command.add("-XX:TieredStopAtLevel=1");
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    command.add(Coexistence.class.getName());
    for (Coexistence neighbour : order) {
      command.add(neighbour.name());
    }
    return new ProcessBuilder(command)
        .redirectErrorStream(true)
        .redirectOutput(directory.resolve("output").toFile())
        .start()
        .waitFor();
  }

  private String output() throws IOException {
    return Files.readString(directory.resolve("output"));
  }
}
