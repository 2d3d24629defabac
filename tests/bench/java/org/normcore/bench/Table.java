package org.normcore.bench;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Measures a plan, block by block. */
final class Table {
  private final Rounds rounds;
  private final PrintStream progress;

  Table(Effort effort, PrintStream progress) {
    this.rounds = new Rounds(effort);
    this.progress = progress;
  }

  List<Measurement> measure(Plan plan) {
    List<Measurement> all = new ArrayList<>();
    int done = 0;
    int count = plan.fieldCount();
    long begin = System.nanoTime();
    for (Plan.Block block : plan.blocks()) {
      try (Tensors tensors = new Tensors(block.shape(), block.dtype(), block.weightType())) {
        for (List<Workload> workloads : plan.fields(block)) {
          all.addAll(measure(workloads, tensors));
          done++;
          double seconds = (System.nanoTime() - begin) / 1e9;
          Workload workload = workloads.get(0);
          progress.printf(
              "[%d/%d, %.0f s, about %.0f s left] %s %s %s, threads: %d%n",
              done,
              count,
              seconds,
              seconds / done * (count - done),
              Names.of(workload.kind()),
              workload.shape(),
              Names.types(workload.dtype(), workload.weightType()),
              workload.threads());
        }
      }
    }
    return all;
  }

  private List<Measurement> measure(List<Workload> workloads, Tensors tensors) {
    try (Session session = new Session(workloads, tensors)) {
      Map<Session.Entrant, Samples> samples =
          rounds.measure(session.contenders(), workloads.get(0).tensorBytes());
      return workloads.stream().map(workload -> line(workload, session, samples)).toList();
    }
  }

  private static Measurement line(
      Workload workload, Session session, Map<Session.Entrant, Samples> samples) {
    Map<String, Summary> times = new LinkedHashMap<>();
    Map<String, String> absences = new LinkedHashMap<>();
    List<Library> libraries = new ArrayList<>();
    libraries.add(Libraries.ours());
    libraries.addAll(Libraries.peers());
    for (Library library : libraries) {
      Session.Entrant entrant = new Session.Entrant(workload.direction(), library.name());
      if (samples.containsKey(entrant)) {
        times.put(library.name(), samples.get(entrant).summary());
      } else {
        absences.put(library.name(), session.absences().get(entrant));
      }
    }
    return new Measurement(
        workload,
        all(CopyLibrary.MEMCPY, samples),
        all(CopyLibrary.STREAMING, samples),
        times,
        absences);
  }

  /** Copies are the same in all directions. */
  private static Summary all(Library copy, Map<Session.Entrant, Samples> samples) {
    return Samples.merged(
            samples.entrySet().stream()
                .filter(entry -> entry.getKey().library().equals(copy.name()))
                .map(Map.Entry::getValue)
                .toList())
        .summary();
  }
}
