package org.normcore.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * One of the targets and how it is met.
 *
 * @param least the least value that meets it
 * @param values what it was measured as, by workload
 */
record Target(String name, double least, List<Value> values) {
  /** A value and where it was found. */
  record Value(String where, double value) {}

  Target(String name, double least) {
    this(name, least, new ArrayList<>());
  }

  void add(Object where, double value) {
    values.add(new Value(where.toString(), value));
  }

  List<Value> missed() {
    return values.stream().filter(value -> !(value.value() >= least)).toList();
  }

  /** One sentence. */
  String verdict() {
    if (values.isEmpty()) {
      return "not measured";
    }
    Value worst =
        values.stream().reduce((a, b) -> a.value() <= b.value() ? a : b).orElseThrow();
    String smallest =
        String.format(Locale.ROOT, "smallest %.2f, at %s", worst.value(), worst.where());
    int missed = missed().size();
    return missed == 0
        ? "met in all " + values.size() + "; " + smallest
        : "missed in " + missed + " of " + values.size() + "; " + smallest;
  }
}
