package org.normcore.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * All contenders for one kind of norm on one set of tensors, in all directions, prepared and
 * checked against ours.
 */
final class Session implements AutoCloseable {
  /** The position of a contender. */
  record Entrant(Direction direction, String library) {
    @Override
    public String toString() {
      return direction.label() + "/" + library;
    }
  }

  private final Map<Entrant, Contender> contenders = new LinkedHashMap<>();
  private final Map<Entrant, String> absences = new LinkedHashMap<>();

  Session(List<Workload> workloads, Tensors tensors) {
    for (int i = 0; i < workloads.size(); i++) {
      add(workloads.get(i), tensors);
      if (i % 2 == 0) {
        addCopies(workloads.get(i), tensors);
      }
    }
  }

  private void add(Workload workload, Tensors tensors) {
    Library ours = Libraries.ours();
    enter(new Entrant(workload.direction(), ours.name()), ours, workload, tensors, null);
    contenders.get(new Entrant(workload.direction(), ours.name())).runIntoTensors();
    Check check = new Check(workload, tensors);
    for (Library peer : Libraries.peers()) {
      enter(new Entrant(workload.direction(), peer.name()), peer, workload, tensors, check);
    }
  }

  /** The same in all directions; repeated, to be spread over a round. */
  private void addCopies(Workload workload, Tensors tensors) {
    for (Library copy : Libraries.copies()) {
      enter(new Entrant(workload.direction(), copy.name()), copy, workload, tensors, null);
    }
  }

  private void enter(
      Entrant entrant, Library library, Workload workload, Tensors tensors, @Nullable Check check) {
    Contender contender = null;
    try {
      contender = library.prepare(workload, tensors);
      if (check != null) {
        verify(contender, check);
      }
      contenders.put(entrant, contender);
    } catch (Absent e) {
      leave(entrant, contender, e.getMessage());
    } catch (RuntimeException e) {
      if (check == null) {
        throw e;
      }
      // A failure of a peer is reported and does not stop the run.
      leave(entrant, contender, "failed: " + e);
    }
  }

  private void leave(Entrant entrant, @Nullable Contender contender, String reason) {
    if (contender != null) {
      contender.close();
    }
    absences.put(entrant, reason);
  }

  private static void verify(Contender contender, Check check) throws Absent {
    contender.begin();
    try {
      contender.runIntoTensors();
    } finally {
      contender.end();
    }
    check.verify();
  }

  Map<Entrant, Contender> contenders() {
    return contenders;
  }

  Map<Entrant, String> absences() {
    return absences;
  }

  @Override
  public void close() {
    contenders.values().forEach(Contender::close);
  }
}
