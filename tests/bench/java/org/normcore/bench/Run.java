package org.normcore.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * All results of a run.
 *
 * @param machine facts by name
 * @param libraries versions by name
 * @param cacheBytes the size of the last-level cache
 * @param latencies null if not requested, like the costs
 */
record Run(
    Map<String, String> machine,
    Map<String, String> libraries,
    long cacheBytes,
    Effort effort,
    List<Measurement> table,
    @Nullable List<Latency> latencies,
    @Nullable List<JavaCost> costs) {
  Run withLatencies(List<Latency> found) {
    return new Run(machine, libraries, cacheBytes, effort, table, found, costs);
  }

  Run withCosts(List<JavaCost> found) {
    return new Run(machine, libraries, cacheBytes, effort, table, latencies, found);
  }

  static Map<String, String> versions() {
    Map<String, String> versions = new LinkedHashMap<>();
    versions.put(Libraries.ours().name(), Libraries.ours().version());
    Libraries.peers().forEach(library -> versions.put(library.name(), library.version()));
    return versions;
  }
}
