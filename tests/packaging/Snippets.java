import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/**
 * Runs the guides' programs in Kotlin or Scala. Each file of the directory has the name of a class
 * to run and contains its expected output.
 */
final class Snippets {
  private Snippets() {}

  public static void main(String[] args) throws Exception {
    List<Path> programs;
    try (Stream<Path> files = Files.list(Path.of(args[0]))) {
      programs = files.sorted().toList();
    }
    if (programs.isEmpty()) {
      throw new AssertionError("no program in " + args[0]);
    }
    // One stream for all programs, because Scala's Console caches the first one.
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
    for (Path program : programs) {
      bytes.reset();
      Class.forName(program.getFileName().toString())
          .getMethod("main", String[].class)
          .invoke(null, (Object) new String[0]);
      String printed = bytes.toString(StandardCharsets.UTF_8);
      if (!printed.equals(Files.readString(program))) {
        throw new AssertionError(
            program + " holds what is expected, the program printed:\n" + printed);
      }
    }
  }
}
