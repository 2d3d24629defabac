package org.normcore.cli;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.normcore.TensorView;
import org.normcore.cli.compare.Comparison;
import org.normcore.cli.compare.ComparisonJson;
import org.normcore.cli.compare.UlpHistogram;
import org.normcore.cli.safetensors.SafetensorsFile;

/** The comparison of computed tensors with the tensors of the same names in a file. */
final class Expectation {
  /** The options that select the dtype of a norm's tensors. */
  private static final ImmutableMap<String, String> DTYPE_OPTIONS =
      ImmutableMap.of("y", "--output-dtype", "dweight", "--grad-dtype", "dbias", "--grad-dtype");

  private final Path path;
  private final Map<String, TensorView> computed;
  private final Map<String, Comparison> comparisons;
  private final Optional<Long> maxUlp;

  private Expectation(
      Path path,
      Map<String, TensorView> computed,
      Map<String, Comparison> comparisons,
      Optional<Long> maxUlp) {
    this.path = path;
    this.computed = computed;
    this.comparisons = comparisons;
    this.maxUlp = maxUlp;
  }

  static Expectation compare(Path path, Map<String, TensorView> computed, Optional<Long> maxUlp)
      throws IOException {
    Map<String, Comparison> comparisons = new LinkedHashMap<>();
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      for (Map.Entry<String, TensorView> member : computed.entrySet()) {
        if (file.entries().containsKey(member.getKey())) {
          TensorView expected = file.view(member.getKey());
          check(path, member.getKey(), member.getValue(), expected);
          comparisons.put(member.getKey(), Comparison.of(member.getValue(), expected));
        }
      }
    }
    if (comparisons.isEmpty()) {
      throw new BadInput(
          path + ": has none of the computed tensors: " + String.join(", ", computed.keySet()));
    }
    return new Expectation(path, computed, comparisons, maxUlp);
  }

  private static void check(Path path, String name, TensorView computed, TensorView expected) {
    if (computed.dtype() != expected.dtype()
        || !Arrays.equals(computed.shape(), expected.shape())) {
      throw new BadInput(
          path
              + ": "
              + name
              + " is "
              + OptionNames.of(expected.dtype())
              + " "
              + Arrays.toString(expected.shape())
              + ", but the computed tensor is "
              + OptionNames.of(computed.dtype())
              + " "
              + Arrays.toString(computed.shape())
              + hint(name, computed, expected));
    }
  }

  private static String hint(String name, TensorView computed, TensorView expected) {
    String option = DTYPE_OPTIONS.get(name);
    return option == null || computed.dtype() == expected.dtype()
        ? ""
        : "; " + option + " " + OptionNames.of(expected.dtype()) + " selects that type";
  }

  /** The computed tensors that the file lacks. */
  private ImmutableList<String> absent() {
    return computed.keySet().stream()
        .filter(name -> !comparisons.containsKey(name))
        .collect(ImmutableList.toImmutableList());
  }

  /** The indices of the element at a position in row order. */
  private long[] indices(String name, long position) {
    long[] indices = computed.get(name).shape();
    for (int i = indices.length - 1; i >= 0; i--) {
      long size = indices[i];
      indices[i] = position % size;
      position /= size;
    }
    return indices;
  }

  /** Whether an element exceeds the limit; a NaN on one side only always does. */
  boolean exceeded() {
    return maxUlp.isPresent()
        && comparisons.values().stream()
            .anyMatch(c -> c.nanMismatches() > 0 || c.maxUlp() > maxUlp.get());
  }

  JsonObject json() {
    JsonObject json = new JsonObject();
    json.addProperty("max_ulp_allowed", maxUlp.orElse(null));
    json.addProperty("exceeded", exceeded());
    JsonObject tensors = new JsonObject();
    comparisons.forEach(
        (name, comparison) -> {
          JsonObject tensor = ComparisonJson.of(comparison);
          comparison
              .first()
              .ifPresent(
                  first ->
                      tensor
                          .getAsJsonObject("first_difference")
                          .add("indices", Json.array(indices(name, first.index()))));
          tensors.add(name, tensor);
        });
    json.add("tensors", tensors);
    JsonArray absent = new JsonArray();
    absent().forEach(absent::add);
    json.add("not_compared", absent);
    return json;
  }

  void print(PrintWriter out) {
    TextTable table = new TextTable("compared", "equal", "max abs", "max ulp", "first difference");
    comparisons.forEach(
        (name, c) ->
            table.row(
                name,
                Numbers.percent(1 - c.differingShare()),
                Numbers.shortest(c.maxAbs()),
                Long.toString(c.maxUlp()),
                c.first()
                    .map(
                        d ->
                            "at "
                                + Arrays.toString(indices(name, d.index()))
                                + ": "
                                + d.a()
                                + ", expected "
                                + d.b())
                    .orElse("none")));
    out.println();
    table.print(out);
    comparisons.forEach((name, c) -> print(out, name, c));
    if (!absent().isEmpty()) {
      out.println("Not in " + path + ": " + String.join(", ", absent()) + ".");
    }
    maxUlp.ifPresent(
        limit ->
            out.println(
                exceeded()
                    ? "The limit of " + limit + " ulp is exceeded."
                    : "Everything is within " + limit + " ulp."));
  }

  /** The non-empty classes of distances, on one line. */
  private static void print(PrintWriter out, String name, Comparison comparison) {
    List<String> shares = new ArrayList<>();
    for (UlpHistogram.Bucket bucket : comparison.histogram().buckets()) {
      if (bucket.count() > 0) {
        double share = (double) bucket.count() / comparison.elements();
        shares.add(bucket.label() + ": " + Numbers.percent(share));
      }
    }
    if (comparison.nanMismatches() > 0) {
      double share = (double) comparison.nanMismatches() / comparison.elements();
      shares.add("NaN on one side: " + Numbers.percent(share));
    }
    if (!shares.isEmpty()) {
      out.println(name + ", ulp " + String.join(", ", shares));
    }
  }
}
