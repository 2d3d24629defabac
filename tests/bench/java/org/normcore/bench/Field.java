package org.normcore.bench;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * All contenders for one kind of norm on one set of tensors, in all directions: prepared, and
 * checked against ours.
 */
final class Field implements AutoCloseable {
  /** A contender's place. */
  record Lane(Direction direction, String library) {
    @Override
    public String toString() {
      return direction.label() + "/" + library;
    }
  }

  private final Map<Lane, Contender> contenders = new LinkedHashMap<>();
  private final Map<Lane, String> absences = new LinkedHashMap<>();

  Field(Iterable<Workload> workloads, Tensors tensors) {
    for (Workload workload : workloads) {
      add(workload, tensors);
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
    for (Library copy : Libraries.copies()) {
      enter(new Lane(workload.direction(), copy.name()), copy, workload, tensors, null);
    }
  }

  private void enter(
      Lane lane, Library library, Workload workload, Tensors tensors, @Nullable Check check) {
    Contender contender;
    try {
      contender = library.prepare(workload, tensors);
    } catch (Absent e) {
      absences.put(lane, e.getMessage());
      return;
    }
    try {
      if (check != null) {
        contender.begin();
        try {
          contender.runIntoTensors();
        } finally {
          contender.end();
        }
        check.verify();
      }
      contenders.put(lane, contender);
    } catch (Absent e) {
      contender.close();
      absences.put(lane, e.getMessage());
    }
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
