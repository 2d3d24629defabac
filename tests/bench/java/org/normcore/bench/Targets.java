package org.normcore.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.normcore.DType;

/** The targets of the CPU backend against the measurements. */
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
    Target never = Target.atLeast(1, "every line: times the best peer");
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
    return workload.direction() == Direction.FORWARD || workload.direction() == Direction.INFERENCE;
  }

  private Target againstMemcpy(String direction, String types, boolean wide, double least) {
    Target target =
        Target.atLeast(least, direction + ", " + types + ", beyond the caches: share of memcpy");
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
        Target.atLeast(
            wide ? 1.5 : 4, "forward and backward, " + types + ", in cache: times the best peer");
    for (Measurement line : table) {
      Workload workload = line.workload();
      if (line.hasPeer()
          && isWide(workload) == wide
          && workload.direction() != Direction.RESIDUAL
          && IN_CACHE.contains(workload.shape().toString())) {
        target.add(workload, line.overBestPeer());
      }
    }
    return target;
  }

  private static Target latency(Run run, String types, boolean wide) {
    Target target = Target.atLeast(2, "one row, " + types + ", from Java: times the best peer");
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
            double median = latency.time().median();
            if (latency.library().equals(Ours.NAME)) {
              ours = median;
            } else {
              best = Math.min(best, median);
            }
          }
          if (best < Double.POSITIVE_INFINITY) {
            target.add(workload, best / ours);
          }
        });
    return target;
  }

  /** The workloads for which the best copy also gains from a second thread. */
  private Target scaling(String types, boolean wide) {
    Target target =
        Target.atLeast(
            SCALES, "2 threads over 1, " + types + ", beyond the caches, where a copy scales so");
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
    Target bytes =
        Target.atMost(JavaCost.SMALLEST_OBJECT / 2, "the Java interface: bytes allocated per call");
    Target nanos = Target.atMost(200, "the Java interface: ns over the native call");
    for (JavaCost cost : costs) {
      String where = cost.call() + ", threads: " + cost.threads();
      bytes.add(where, cost.bytes());
      Double over = cost.overNative();
      if (over != null) {
        nanos.add(where, over);
      }
    }
    return List.of(bytes, nanos);
  }
}
