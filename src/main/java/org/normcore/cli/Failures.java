package org.normcore.cli;

import java.io.PrintWriter;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.util.List;
import org.normcore.cli.safetensors.SafetensorsException;
import picocli.CommandLine;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/** Turns every failure into one sentence on standard error and an exit status. */
final class Failures {
  private static final int FAILED = 1;
  private static final int BAD_INPUT = 2;

  private Failures() {}

  /** Wrong options or commands. */
  static int ofUsage(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    StringBuilder sentence = new StringBuilder(message(e));
    if (e instanceof UnmatchedArgumentException unmatched) {
      sentence.setLength(0);
      sentence.append("Not understood: ").append(String.join(" ", unmatched.getUnmatched()));
      List<String> near = unmatched.getSuggestions();
      if (!near.isEmpty()) {
        sentence.append("; did you mean ").append(String.join(" or ", near)).append('?');
      }
    }
    sentence.append(" (see ").append(command.getCommandSpec().qualifiedName()).append(" --help)");
    print(command.getErr(), sentence.toString());
    return BAD_INPUT;
  }

  private static String message(ParameterException e) {
    // Picocli adds this prefix only to messages about groups of options.
    String message = e.getMessage();
    return message.startsWith("Error: ") ? message.substring("Error: ".length()) : message;
  }

  /** Reports a failure of a running command. */
  static int report(PrintWriter err, Throwable e) {
    print(err, sentence(e));
    return isBadInput(e) ? BAD_INPUT : FAILED;
  }

  private static boolean isBadInput(Throwable e) {
    return e instanceof BadInput
        || e instanceof SafetensorsException
        || e instanceof IllegalArgumentException
        || e instanceof UnsupportedOperationException
        || e instanceof FileSystemException;
  }

  private static String sentence(Throwable e) {
    if (e instanceof NoSuchFileException file) {
      return file.getFile() + ": does not exist";
    }
    if (e instanceof AccessDeniedException file) {
      return file.getFile() + ": access is denied";
    }
    if (e instanceof FileAlreadyExistsException file) {
      return file.getFile() + ": already exists";
    }
    if (e instanceof FileSystemException file) {
      return file.getFile()
          + ": "
          + (file.getReason() == null ? "can't be used" : file.getReason());
    }
    if (e instanceof OutOfMemoryError) {
      String message = String.valueOf(e.getMessage());
      return "out of memory ("
          + message
          + "): "
          + (message.contains("CUDA device")
              ? "use fewer rows"
              : "raise the limit with java -Xmx, for example -Xmx8g, or use fewer rows");
    }
    if (e.getMessage() == null || !isBadInput(e)) {
      return e.getClass().getSimpleName() + (e.getMessage() == null ? "" : ": " + e.getMessage());
    }
    return e.getMessage();
  }

  private static void print(PrintWriter err, String sentence) {
    err.println("normcore: " + sentence.replaceAll("\\s*\\R\\s*", " "));
  }
}
