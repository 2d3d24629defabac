package org.normcore.bench;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;

/**
 * One of the targets and its measured values.
 *
 * @param bound the minimum value that meets it, or the maximum
 * @param values the measured values, by workload
 */
record Target(String name, double bound, boolean isMost, List<Value> values) {
  /** A value and its workload. */
  record Value(String where, double value) {}

  static Target atLeast(double bound, String name) {
    return new Target(name, bound, false, new ArrayList<>());
  }

  static Target atMost(double bound, String name) {
    return new Target(name, bound, true, new ArrayList<>());
  }

  void add(Object where, double value) {
    values.add(new Value(where.toString(), value));
  }

  List<Value> missed() {
    return values.stream().filter(value -> !isMetBy(value.value())).toList();
  }

  private boolean isMetBy(double value) {
    return isMost ? value <= bound : value >= bound;
  }

  /** For example, {@code at least 1.25}. */
  String demand() {
    return (isMost ? "at most " : "at least ") + number(bound);
  }

  /** One sentence. */
  String verdict() {
    if (values.isEmpty()) {
      return "not measured";
    }
    Comparator<Value> order = Comparator.comparingDouble(Value::value);
    Value worst = isMost ? Collections.max(values, order) : Collections.min(values, order);
    int missed = missed().size();
    return (missed == 0
            ? "met in all " + values.size()
            : "missed in " + missed + " of " + values.size())
        + (isMost ? "; largest " : "; smallest ")
        + number(worst.value())
        + ", at "
        + worst.where();
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, Math.abs(value) < 10 ? "%.2f" : "%.0f", value);
  }
}
