package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.normcore.DType;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;
import org.normcore.cli.compare.Comparison;

/**
 * The comparison of two methods in one type, over all norms.
 *
 * @param dtype the type
 * @param a the name of the first method
 * @param b the name of the second
 * @param cases the cases of single norms
 * @param tensors the sums of the norms' comparisons, by tensor
 */
record PolicyComparison(
    DType dtype,
    String a,
    String b,
    ImmutableList<AuditCase> cases,
    Map<String, Comparison> tensors) {
  private record Key(DType dtype, String a, String b) {}

  /** Groups cases into comparisons, by type and in order of first occurrence. */
  static ImmutableList<PolicyComparison> of(List<AuditCase> cases, List<DType> dtypes) {
    Map<Key, List<AuditCase>> groups = new LinkedHashMap<>();
    for (DType dtype : dtypes) {
      for (AuditCase c : cases) {
        if (c.dtype() == dtype) {
          groups.computeIfAbsent(new Key(dtype, c.a(), c.b()), key -> new ArrayList<>()).add(c);
        }
      }
    }
    return groups.entrySet().stream()
        .map(e -> of(e.getKey(), ImmutableList.copyOf(e.getValue())))
        .collect(ImmutableList.toImmutableList());
  }

  private static PolicyComparison of(Key key, ImmutableList<AuditCase> cases) {
    Map<String, Comparison> tensors = new LinkedHashMap<>();
    for (AuditCase c : cases) {
      c.tensors()
          .forEach(
              (name, comparison) ->
                  tensors.computeIfAbsent(name, n -> Comparison.empty()).add(comparison));
    }
    return new PolicyComparison(key.dtype, key.a, key.b, cases, tensors);
  }

  /** Whether this checks the library rather than comparing policies. */
  boolean isCheck() {
    return b.equals(Auditor.PLAIN);
  }

  /** Whether every element of every tensor is the same. */
  boolean isEqual() {
    return tensors.values().stream().allMatch(comparison -> comparison.differing() == 0);
  }

  Comparison y() {
    return tensors.get("y");
  }

  /** The comparison in one sentence. */
  String sentence() {
    String where = "In " + OptionNames.of(dtype);
    if (isCheck()) {
      return where
          + ", Normcore under "
          + a
          + " and a plain evaluation of the Hugging Face order differ in "
          + y().differing()
          + " of "
          + y().elements()
          + " elements of y.";
    }
    if (isEqual()) {
      return where
          + ", "
          + a
          + " and "
          + b
          + " agree in every element of "
          + join(tensors.keySet().stream().toList())
          + ".";
    }
    List<String> shares =
        tensors.entrySet().stream()
            .map(e -> Numbers.percent(e.getValue().differingShare()) + " of " + e.getKey())
            .collect(Collectors.toList());
    return where + ", " + a + " and " + b + " differ in " + join(shares) + ".";
  }

  private static String join(List<String> parts) {
    int last = parts.size() - 1;
    return last == 0
        ? parts.get(0)
        : String.join(", ", parts.subList(0, last)) + " and " + parts.get(last);
  }
}
