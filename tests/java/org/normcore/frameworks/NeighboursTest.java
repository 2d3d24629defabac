package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.frameworks.Neighbour.DJL;
import static org.normcore.frameworks.Neighbour.ND4J;
import static org.normcore.frameworks.Neighbour.NORMCORE;
import static org.normcore.frameworks.Neighbour.PYTORCH;
import static org.normcore.frameworks.Neighbour.TENSORFLOW;

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
class NeighboursTest {
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
  void djlAndPyTorchAreNoNeighbours() throws Exception {
    for (Neighbour[] pair : new Neighbour[][] {{DJL, PYTORCH}, {PYTORCH, DJL}}) {
      assertTrue(run(pair) != 0);
      assertTrue(output().contains("UnsatisfiedLinkError"), output());
    }
  }

  private void assertLive(Neighbour... order) throws IOException, InterruptedException {
    int status = run(order);
    assertEquals(0, status, output());
    assertTrue(output().contains("all " + order.length), output());
  }

  private int run(Neighbour... order) throws IOException, InterruptedException {
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
    command.add(Neighbour.class.getName());
    for (Neighbour neighbour : order) {
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
