package org.normcore.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.openjdk.jmh.util.Version;

/** The machine of the measurements. */
final class Machine {
  private static final Path CACHES = Path.of("/sys/devices/system/cpu/cpu0/cache");

  private static final Path HUGE_PAGES = Path.of("/sys/kernel/mm/transparent_hugepage/enabled");

  private Machine() {}

  /** One fact per line, in order. */
  static Map<String, String> description() {
    Map<String, String> facts = new LinkedHashMap<>();
    facts.put("date", LocalDate.now(ZoneOffset.UTC).toString());
    facts.put("cpu", cpu());
    facts.put("cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
    facts.put("caches", String.join(", ", caches().stream().map(Cache::toString).toList()));
    facts.put("transparent huge pages", hugePages());
    facts.put("system", System.getProperty("os.name") + " " + System.getProperty("os.version"));
    facts.put(
        "jvm", System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version"));
    facts.put("harness", "JMH " + Version.getPlainVersion());
    return facts;
  }

  /** The bytes of the largest cache of a core, private or shared. */
  static long lastCacheBytes() {
    return caches().stream().mapToLong(Cache::bytes).max().orElse(32L << 20);
  }

  private record Cache(String name, long bytes) {
    @Override
    public String toString() {
      return name + " " + (bytes >> 10) + " KiB";
    }
  }

  private static List<Cache> caches() {
    List<Cache> caches = new ArrayList<>();
    try (Stream<Path> directories = Files.list(CACHES)) {
      for (Path directory :
          directories
              .filter(path -> path.getFileName().toString().startsWith("index"))
              .sorted()
              .toList()) {
        String type = Files.readString(directory.resolve("type")).strip();
        String level = Files.readString(directory.resolve("level")).strip();
        String size = Files.readString(directory.resolve("size")).strip();
        if (!type.equals("Instruction") && size.endsWith("K")) {
          caches.add(
              new Cache("L" + level, Long.parseLong(size.substring(0, size.length() - 1)) << 10));
        }
      }
    } catch (IOException e) {
      return List.of();
    }
    return caches;
  }

  /** The file lists all values of the setting, with the current one in brackets. */
  private static String hugePages() {
    try {
      String values = Files.readString(HUGE_PAGES);
      return values.substring(values.indexOf('[') + 1, values.indexOf(']'));
    } catch (IOException | IndexOutOfBoundsException e) {
      return "unknown";
    }
  }

  private static String cpu() {
    try (Stream<String> lines = Files.lines(Path.of("/proc/cpuinfo"))) {
      return lines
          .filter(line -> line.startsWith("model name"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst()
          .orElse(System.getProperty("os.arch"));
    } catch (IOException e) {
      return System.getProperty("os.arch");
    }
  }
}
