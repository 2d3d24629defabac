package org.normcore.docs;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;

/**
 * A fenced block of Java, Kotlin or Scala in README.md or a guide.
 *
 * <p>A block that declares a class, or Kotlin's or Scala's main program, is a file of its own. Any
 * other block is a list of statements. The line {@code <!-- snippet: RmsNorm norm, TensorView x
 * -->} before it declares the variables it uses.
 *
 * <p>After the line {@code <!-- output -->} the next block of text is what the program prints.
 *
 * @param file where the block is
 * @param line the line of its fence, from 1
 * @param language java, kotlin or scala
 * @param code its lines
 * @param variables the parameters of the method that its statements are put into
 * @param output what the program prints; null if the text does not say
 */
record Snippet(
    Path file, int line, String language, String code, String variables, @Nullable String output) {
  private static final Set<String> LANGUAGES = Set.of("java", "kotlin", "scala");
  private static final Pattern DECLARED = Pattern.compile("<!-- snippet:(.*)-->");
  private static final Pattern PROGRAM =
      Pattern.compile(
          "^(?:public |final )*(?:class|interface|record|enum|object) (\\w+)|^fun (main)\\(",
          Pattern.MULTILINE);
  private static final Pattern IMPORT = Pattern.compile("^import .*\n", Pattern.MULTILINE);

  /** Returns README.md and the guides. */
  static List<Path> pages() throws IOException {
    List<Path> pages = new ArrayList<>(List.of(Path.of("README.md")));
    try (Stream<Path> guides = Files.walk(Path.of("src/site/markdown"))) {
      guides.filter(path -> path.toString().endsWith(".md")).sorted().forEach(pages::add);
    }
    return pages;
  }

  /** Returns all blocks of a language. */
  static List<Snippet> all(String language) throws IOException {
    List<Snippet> snippets = new ArrayList<>();
    for (Path page : pages()) {
      snippets.addAll(of(page, Files.readString(page)));
    }
    return snippets.stream().filter(snippet -> snippet.language.equals(language)).toList();
  }

  /** Returns the blocks of a page, in their order. */
  static List<Snippet> of(Path file, String text) {
    List<String> lines = text.lines().toList();
    List<Snippet> snippets = new ArrayList<>();
    String declared = "";
    boolean isOutput = false;
    for (int i = 0; i < lines.size(); i++) {
      String line = lines.get(i);
      if (!line.startsWith("```")) {
        Matcher matcher = DECLARED.matcher(line);
        if (matcher.matches()) {
          declared = matcher.group(1).strip();
        } else if (line.equals("<!-- output -->")) {
          isOutput = true;
        }
        continue;
      }
      int end = i + 1;
      while (!lines.get(end).equals("```")) {
        end++;
      }
      String code = String.join("\n", lines.subList(i + 1, end)) + "\n";
      String language = line.substring(3);
      if (LANGUAGES.contains(language)) {
        snippets.add(new Snippet(file, i + 1, language, code, declared, null));
      } else if (isOutput) {
        Snippet last = snippets.remove(snippets.size() - 1);
        snippets.add(last.printing(code));
      }
      declared = "";
      isOutput = false;
      i = end;
    }
    if (isOutput || !declared.isEmpty()) {
      throw new IllegalArgumentException(file + ": a mark without a block after it");
    }
    return snippets;
  }

  private Snippet printing(String text) {
    return new Snippet(file, line, language, code, variables, text);
  }

  /** Returns the name of a package of its own, so that blocks may have classes of one name. */
  String packageName() {
    String page = file.getFileName().toString().replace(".md", "").replaceAll("\\W", "_");
    return "snippets." + page.toLowerCase() + "_" + line;
  }

  boolean isProgram() {
    return PROGRAM.matcher(code).find();
  }

  /** Returns the class to run. */
  String mainClass() {
    Matcher matcher = PROGRAM.matcher(code);
    if (!matcher.find()) {
      throw new IllegalStateException(this + " prints something and is no program");
    }
    return packageName() + "." + (language.equals("kotlin") ? "SnippetKt" : matcher.group(1));
  }

  /** Returns the name of the source file: that of Java's public class. */
  String fileName() {
    return switch (language) {
      case "kotlin" -> "Snippet.kt";
      case "scala" -> "Snippet.scala";
      default -> {
        String name = isProgram() ? mainClass() : "Snippet";
        yield name.substring(name.lastIndexOf('.') + 1) + ".java";
      }
    };
  }

  /** Returns the source text for the compiler. */
  String source() {
    String end = language.equals("java") ? ";\n" : "\n";
    String header = "package " + packageName() + end;
    if (isProgram()) {
      return header + code;
    }
    StringBuilder imports = new StringBuilder("import org.normcore.");
    imports.append(language.equals("scala") ? "_" : "*").append(end);
    Matcher matcher = IMPORT.matcher(code);
    while (matcher.find()) {
      imports.append(matcher.group());
    }
    String statements = IMPORT.matcher(code).replaceAll("");
    String method =
        switch (language) {
          case "kotlin" -> "fun snippet(" + variables + ") {\n" + statements + "}\n";
          case "scala" ->
              "object Snippet {\ndef snippet("
                  + variables
                  + "): Unit = {\n"
                  + statements
                  + "}\n}\n";
          default -> "class Snippet {\nvoid snippet(" + variables + ") {\n" + statements + "}\n}\n";
        };
    return header + imports + method;
  }

  /** Writes the source into the package's directory under {@code root}. */
  Path write(Path root) throws IOException {
    Path directory = Files.createDirectories(root.resolve(packageName().replace('.', '/')));
    return Files.writeString(directory.resolve(fileName()), source());
  }

  @Override
  public String toString() {
    return file + ":" + line;
  }

  /**
   * {@code LANGUAGE DIRECTORY}: writes the sources of a language into a directory, and what its
   * programs print into {@code DIRECTORY/expected}, one file for each class to run.
   */
  public static void main(String[] args) throws IOException {
    Path root = Path.of(args[1]);
    Path expected = Files.createDirectories(root.resolve("expected"));
    for (Snippet snippet : all(args[0])) {
      snippet.write(root);
      if (snippet.output != null) {
        Files.writeString(expected.resolve(snippet.mainClass()), snippet.output);
      }
    }
  }
}
