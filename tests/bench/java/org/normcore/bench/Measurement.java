package org.normcore.bench;

import java.util.Map;

/**
 * One line of the table.
 *
 * @param memcpy a copy of one tensor to another
 * @param streaming the same with non-temporal stores
 * @param times by library; ours among them
 * @param absences the reasons why other libraries have none
 */
record Measurement(
    Workload workload,
    Summary memcpy,
    Summary streaming,
    Map<String, Summary> times,
    Map<String, String> absences) {
  Summary ours() {
    return times.get(Ours.NAME);
  }

  /** The ratio to memcpy's speed, in bytes per second. */
  double ofMemcpy(String library) {
    return memcpy.median() * workload.direction().copies() / times.get(library).median();
  }

  double ofStreaming(String library) {
    return streaming.median() * workload.direction().copies() / times.get(library).median();
  }

  /** Our speed-up over the fastest peer; infinite without a peer. */
  double overBestPeer() {
    return times.entrySet().stream()
            .filter(entry -> !entry.getKey().equals(Ours.NAME))
            .mapToDouble(entry -> entry.getValue().median())
            .min()
            .orElse(Double.POSITIVE_INFINITY)
        / ours().median();
  }

  boolean hasPeer() {
    return times.size() > 1;
  }

  /** Whether the moved bytes fill the last-level cache. */
  boolean isBeyond(long cacheBytes) {
    return workload.bytes() >= cacheBytes;
  }
}
