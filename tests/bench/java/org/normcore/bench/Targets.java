package org.normcore.bench;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.normcore.DType;

/** What the CPU backend is meant to reach, against what was measured. */
final class Targets {
  private static final List<String> IN_CACHE = List.of("32x4096", "1024x768");
  private static final double SCALES = 1.8;

  private final List<Measurement> table;
  private final long cacheBytes;

  Targets(List<Measurement> table, long cacheBytes) {
    this.table = table;
    this.cacheBytes = cacheBytes;
  }

  List<Target> judge(Run run) {
    List<Target> targets = new ArrayList<>();
    for (boolean wide : new boolean[] {true, false}) {
      String types = wide ? "float32" : "16-bit types";
      targets.add(againstMemcpy("forward", types, wide, wide ? 1.25 : 1));
      targets.add(againstMemcpy("backward", types, wide, wide ? 1 : 0.85));
      targets.add(inCache(types, wide));
      targets.add(latency(run, types, wide));
      targets.add(scaling(types, wide));
    }
    Target never = new Target("every line: never behind a peer", 1);
    table.stream()
        .filter(Measurement::hasPeer)
        .forEach(line -> never.add(line.workload(), line.overBestPeer()));
    targets.add(never);
    if (run.costs() != null) {
      targets.addAll(costs(run.costs()));
    }
    return targets;
  }

  private static boolean isWide(Workload workload) {
    return workload.dtype() == DType.FLOAT32;
  }

  private static boolean isForward(Workload workload) {
    return workload.direction() == Direction.FORWARD
        || workload.direction() == Direction.INFERENCE;
  }

  private Target againstMemcpy(String direction, String types, boolean wide, double least) {
    Target target =
        new Target(direction + ", " + types + ", beyond the caches: share of memcpy", least);
    for (Measurement line : table) {
      Workload workload = line.workload();
      boolean chosen =
          direction.equals("forward")
              ? isForward(workload)
              : workload.direction() == Direction.BACKWARD;
      if (chosen && isWide(workload) == wide && line.isBeyond(cacheBytes)) {
        target.add(workload, line.ofMemcpy(Ours.NAME));
      }
    }
    return target;
  }

  private Target inCache(String types, boolean wide) {
    Target target =
        new Target(
            "forward and backward, " + types + ", in cache: times the best peer",
            wide ? 1.5 : 4);
    for (Measurement line : table) {
      Workload workload = line.workload();
      if (line.hasPeer()
          && isWide(workload) == wide
          && IN_CACHE.contains(workload.shape().toString())) {
        target.add(workload, line.overBestPeer());
      }
    }
    return target;
  }

  private static Target latency(Run run, String types, boolean wide) {
    Target target =
        new Target("one row, " + types + ", from Java: times the best peer", 2);
    if (run.latencies() == null) {
      return target;
    }
    Map<Workload, List<Latency>> byWorkload =
        run.latencies().stream()
            .filter(latency -> isWide(latency.workload()) == wide)
            .collect(Collectors.groupingBy(Latency::workload));
    byWorkload.forEach(
        (workload, latencies) -> {
          double ours = Double.NaN;
          double best = Double.POSITIVE_INFINITY;
          for (Latency latency : latencies) {
            double median = latency.samples().median();
            if (latency.library().equals(Ours.NAME)) {
              ours = median;
            } else {
              best = Math.min(best, median);
            }
          }
          target.add(workload, best / ours);
        });
    return target;
  }

  /** Where the best copy gains as much by a second thread. */
  private Target scaling(String types, boolean wide) {
    Target target =
        new Target(
            "2 threads over 1, " + types + ", beyond the caches, where a copy scales so", SCALES);
    Map<Workload, Measurement> lines =
        table.stream().collect(Collectors.toMap(Measurement::workload, Function.identity()));
    for (Measurement line : table) {
      Workload workload = line.workload();
      Measurement two = lines.get(workload.withThreads(2));
      if (workload.threads() == 1
          && two != null
          && isWide(workload) == wide
          && line.isBeyond(cacheBytes)
          && line.streaming().median() >= SCALES * two.streaming().median()) {
        target.add(workload, line.ours().median() / two.ours().median());
      }
    }
    return target;
  }

  private static List<Target> costs(List<JavaCost> costs) {
    Target bytes = new Target("Java: 0 bytes per call (1 is none)", 1);
    Target nanos = new Target("Java: at most 200 ns over the native call (ns to spare)", 0);
    for (JavaCost cost : costs) {
      String where = cost.call() + ", threads: " + cost.threads();
      bytes.add(where, cost.allocates() ? 0 : 1);
      if (!Double.isNaN(cost.bareNanos())) {
        nanos.add(where, 200 - cost.overNative());
      }
    }
    return List.of(bytes, nanos);
  }

  static Map<String, List<Target.Value>> misses(List<Target> targets) {
    Map<String, List<Target.Value>> misses = new HashMap<>();
    targets.forEach(target -> misses.put(target.name(), target.missed()));
    return misses;
  }
}
