package org.normcore.docs;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.junit.jupiter.api.DynamicTest.dynamicTest;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;
import javax.tools.DiagnosticCollector;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every Java block of README.md and the guides compiles, and those whose output the text gives
 * print it. tests/packaging/consumers.sh does the same for Kotlin and Scala.
 */
class SnippetsTest {
  private static final String CLASS_PATH =
      System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));

  private static final Path SIMULATOR =
      Path.of("target/native-build/lib-test/libnormcore_cuda_simt_plain.so").toAbsolutePath();

  @TempDir private static Path directory;

  private static List<Snippet> snippets;

  @BeforeAll
  static void compile() throws IOException {
    snippets = Snippet.all("java");
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    DiagnosticCollector<JavaFileObject> problems = new DiagnosticCollector<>();
    try (StandardJavaFileManager files =
        compiler.getStandardFileManager(problems, Locale.ROOT, null)) {
      List<Path> sources = new ArrayList<>();
      for (Snippet snippet : snippets) {
        sources.add(snippet.write(directory.resolve("sources")));
      }
      List<String> options =
          List.of("-proc:none", "-cp", CLASS_PATH, "-d", directory.resolve("classes").toString());
      boolean done =
          compiler
              .getTask(
                  null, files, problems, options, null, files.getJavaFileObjectsFromPaths(sources))
              .call();
      assertTrue(done, problems.getDiagnostics().toString());
    }
  }

  @Test
  void guidesContainJava() {
    assertTrue(snippets.size() >= 15, snippets.toString());
  }

  @TestFactory
  Stream<DynamicTest> programsPrintWhatTheTextSays() {
    return snippets.stream()
        .filter(snippet -> snippet.output() != null)
        .map(snippet -> dynamicTest(snippet.toString(), () -> assertPrints(snippet)));
  }

  /** The guide's program for a device runs on the simulator. */
  @Test
  void theCudaProgramRuns() throws IOException, InterruptedException {
    Snippet program =
        snippets.stream()
            .filter(snippet -> snippet.isProgram() && snippet.code().contains("Device.cuda(0)"))
            .findFirst()
            .orElseThrow();
    assumeTrue(Files.exists(SIMULATOR), "the native tests have not been built");
    assertPrints(program);
  }

  @Test
  void blockLanguagesAreKnown() throws IOException {
    Set<String> known =
        Set.of("java", "kotlin", "scala", "python", "sh", "text", "xml", "groovy", "sbt");
    List<String> others = new ArrayList<>();
    for (Path page : Snippet.pages()) {
      boolean inside = false;
      for (String line : Files.readAllLines(page)) {
        if (line.stripLeading().startsWith("```")) {
          inside = !inside;
          if (inside && (!line.startsWith("```") || !known.contains(line.substring(3)))) {
            others.add(page + ": " + line);
          }
        }
      }
    }
    assertEquals(List.of(), others);
  }

  private static void assertPrints(Snippet snippet) throws IOException, InterruptedException {
    assumeTrue(
        !snippet.code().contains("org.tensorflow") || CLASS_PATH.contains("tensorflow-core-native"),
        "the profile frameworks is off");
    Path out = directory.resolve(snippet.packageName() + ".out");
    Path errors = directory.resolve(snippet.packageName() + ".err");
    ProcessBuilder java =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Dorg.bytedeco.javacpp.cachedir="
                + System.getProperty("org.bytedeco.javacpp.cachedir"),
            "-cp",
            directory.resolve("classes") + ":" + CLASS_PATH,
            snippet.mainClass());
    java.environment().put("NORMCORE_CUDA_LIBRARY", SIMULATOR.toString());
    Process process = java.redirectOutput(out.toFile()).redirectError(errors.toFile()).start();
    int status = process.waitFor();
    assertEquals(0, status, () -> read(errors));
    assertEquals(snippet.output() == null ? "" : snippet.output(), Files.readString(out));
  }

  private static String read(Path file) {
    try {
      return Files.readString(file);
    } catch (IOException e) {
      return e.toString();
    }
  }

  @Test
  void statementsAreWrappedAndProgramsAreNot() {
    String text =
        """
        <!-- snippet: RmsNorm norm -->
        ```java
        import java.util.List;
        List<String> kernels = norm.kernels();
        ```

        ```kotlin
        fun main() {}
        ```

        <!-- output -->
        ```text
        nothing
        ```
        """;
    List<Snippet> found = Snippet.of(Path.of("a-b.md"), text);
    assertEquals(2, found.size());
    assertEquals(
        """
        package snippets.a_b_2;
        import org.normcore.*;
        import java.util.List;
        class Snippet {
        void snippet(RmsNorm norm) {
        List<String> kernels = norm.kernels();
        }
        }
        """,
        found.get(0).source());
    assertFalse(found.get(0).isProgram());
    assertEquals("package snippets.a_b_7\nfun main() {}\n", found.get(1).source());
    assertEquals("snippets.a_b_7.SnippetKt", found.get(1).mainClass());
    assertEquals("nothing\n", found.get(1).output());
  }
}
