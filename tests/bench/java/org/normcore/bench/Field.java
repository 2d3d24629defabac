package org.normcore.bench;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * All contenders for one kind of norm on one set of tensors, in all directions, prepared and
 * checked against ours.
 */
final class Field implements AutoCloseable {
  /** The position of a contender. */
  record Lane(Direction direction, String library) {
    @Override
    public String toString() {
      return direction.label() + "/" + library;
    }
  }

  private final Map<Lane, Contender> contenders = new LinkedHashMap<>();
  private final Map<Lane, String> absences = new LinkedHashMap<>();

  Field(List<Workload> workloads, Tensors tensors) {
    for (int i = 0; i < workloads.size(); i++) {
      add(workloads.get(i), tensors);
      if (i % 2 == 0) {
        addCopies(workloads.get(i), tensors);
      }
    }
  }

  private void add(Workload workload, Tensors tensors) {
    Library ours = Libraries.ours();
    enter(new Lane(workload.direction(), ours.name()), ours, workload, tensors, null);
    contenders.get(new Lane(workload.direction(), ours.name())).runIntoTensors();
    Check check = new Check(workload, tensors);
    for (Library peer : Libraries.peers()) {
      enter(new Lane(workload.direction(), peer.name()), peer, workload, tensors, check);
    }
  }

  /** The same in all directions; repeated, to be spread over a round. */
  private void addCopies(Workload workload, Tensors tensors) {
    for (Library copy : Libraries.copies()) {
      enter(new Lane(workload.direction(), copy.name()), copy, workload, tensors, null);
    }
  }

  private void enter(
      Lane lane, Library library, Workload workload, Tensors tensors, @Nullable Check check) {
    Contender contender = null;
    try {
      contender = library.prepare(workload, tensors);
      if (check != null) {
        verify(contender, check);
      }
      contenders.put(lane, contender);
    } catch (Absent e) {
      leave(lane, contender, e.getMessage());
    } catch (RuntimeException e) {
      if (check == null) {
        throw e;
      }
      // A failure of a peer is reported and does not stop the run.
      leave(lane, contender, "failed: " + e);
    }
  }

  private void leave(Lane lane, @Nullable Contender contender, String reason) {
    if (contender != null) {
      contender.close();
    }
    absences.put(lane, reason);
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

  Map<Lane, Contender> contenders() {
    return contenders;
  }

  Map<Lane, String> absences() {
    return absences;
  }

  @Override
  public void close() {
    contenders.values().forEach(Contender::close);
  }
}
