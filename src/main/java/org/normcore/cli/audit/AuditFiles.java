package org.normcore.cli.audit;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.normcore.cli.BadInput;
import org.normcore.cli.Json;
import org.normcore.cli.safetensors.AtomicFile;

/** The two files of an audit: the report page and its numbers as JSON. */
final class AuditFiles {
  private final Path directory;
  private final Path html;
  private final Path json;

  AuditFiles(Path directory, String html, String json) {
    this.directory = directory;
    this.html = directory.resolve(html);
    this.json = directory.resolve(json);
  }

  /** Checks the paths before the computation, so that a wrong path does not waste it. */
  void check() throws IOException {
    Path existing = directory.toAbsolutePath();
    while (existing != null && !Files.exists(existing)) {
      existing = existing.getParent();
    }
    if (existing != null && !Files.isDirectory(existing)) {
      throw new BadInput(
          "--out is " + directory + ", but " + existing + " is a file, expected a directory");
    }
    if (Files.isDirectory(directory)) {
      AtomicFile.check(html);
      AtomicFile.check(json);
    }
  }

  /** Writes both. */
  void write(String page, JsonObject numbers) throws IOException {
    Files.createDirectories(directory);
    write(html, page);
    write(json, Json.toText(numbers));
  }

  private static void write(Path file, String text) throws IOException {
    ByteBuffer bytes = ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8));
    AtomicFile.write(file, channel -> AtomicFile.writeFully(channel, bytes));
  }

  /** Where the page is. */
  Path page() {
    return html;
  }
}
