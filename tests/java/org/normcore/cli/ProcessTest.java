package org.normcore.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The command line in a separate process, with real exit statuses and streams. */
class ProcessTest {
  @TempDir private Path directory;

  private final Map<String, String> environment = new HashMap<>();

  @Test
  void commandSetsStatusAndStreams() throws Exception {
    assertEquals(0, run("info", "--json"));
    assertTrue(JsonParser.parseString(output("out")).isJsonObject());
    assertEquals("", output("err"));

    assertEquals(2, run("audit", "--policies", "none"));
    assertEquals("", output("out"));
    assertEquals(1, output("err").lines().count());
  }

  @Test
  void auditWritesOnlyJsonOnStandardOutput() throws Exception {
    assertEquals(
        0,
        run(
            "audit",
            "--json",
            "--rows",
            "8",
            "--hidden",
            "64",
            "--out",
            directory.resolve("report").toString()));
    assertTrue(JsonParser.parseString(output("out")).getAsJsonObject().has("cases"));
    assertEquals("", output("err"));
  }

  @Test
  void outOfMemoryGivesOneSentence() throws Exception {
    Path report = directory.resolve("report");
    assertEquals(
        1, run(List.of("-Xmx64m"), "audit", "--rows", "100000", "--out", report.toString()));
    String err = output("err");
    assertEquals(1, err.lines().count(), err);
    assertTrue(err.startsWith("normcore: out of memory"), err);
    assertTrue(err.contains("java -Xmx"), err);
    assertFalse(Files.exists(report));
  }

  @Test
  void missingCudaLibraryIsNamed() throws Exception {
    environment.put("NORMCORE_CUDA_LIBRARY", "/nowhere/libnormcore_cuda.so");
    assertEquals(2, run("bench", "--device", "cuda"));
    assertEquals("", output("out"));
    String err = output("err");
    assertEquals(1, err.lines().count(), err);
    assertTrue(err.startsWith("normcore: CUDA: "), err);
    assertTrue(err.contains("NORMCORE_CUDA_LIBRARY"), err);
    assertTrue(err.contains("/nowhere/libnormcore_cuda.so"), err);
    assertEquals(0, run("info"));
  }

  private int run(String... args) throws IOException, InterruptedException {
    return run(List.of(), args);
  }

  private int run(List<String> javaOptions, String... args)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(javaOptions);
    command.add("-cp");
    command.add(System.getProperty("java.class.path"));
    String cache = System.getProperty("org.bytedeco.javacpp.cachedir");
    if (cache != null) {
      command.add("-Dorg.bytedeco.javacpp.cachedir=" + cache);
    }
    command.add(Main.class.getName());
    command.addAll(List.of(args));
    ProcessBuilder process =
        new ProcessBuilder(command)
            .redirectOutput(directory.resolve("out").toFile())
            .redirectError(directory.resolve("err").toFile());
    process.environment().putAll(environment);
    return process.start().waitFor();
  }

  private String output(String name) throws IOException {
    return Files.readString(directory.resolve(name), StandardCharsets.UTF_8);
  }
}
