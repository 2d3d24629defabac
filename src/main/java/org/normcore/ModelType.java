package org.normcore;

import static com.google.common.base.Preconditions.checkState;

import com.google.common.base.Splitter;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.io.Resources;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;

/**
 * How a Hugging Face model family computes its main norm, as read from the modeling files of
 * Hugging Face transformers 5.18.0. The table is the resource {@code org/normcore/model_types.tsv}.
 *
 * @param modelType the family's {@code model_type} in {@code config.json}, for example {@code
 *     qwen3}
 * @param norm which norm it is
 * @param policyName the name of the preset that rounds as the family does, for example {@code
 *     HUGGING_FACE_LLAMA}
 * @param policy that preset
 * @param affine which of weight and bias the norm has
 * @param epsilonKeys the keys of {@code config.json} for epsilon, of which the first one present
 *     applies; empty if the family's code fixes epsilon
 * @param defaultEpsilon epsilon if {@code config.json} has none of the keys
 * @param source the file and line below {@code src/transformers/models} of the source
 * @param note remarks; may be empty
 */
public record ModelType(
    String modelType,
    NormKind norm,
    String policyName,
    NormPolicy policy,
    Affine affine,
    List<String> epsilonKeys,
    double defaultEpsilon,
    String source,
    String note) {
  /** Copies the list. */
  public ModelType {
    epsilonKeys = List.copyOf(epsilonKeys);
  }

  /**
   * Returns the entry of a model family.
   *
   * @throws IllegalArgumentException if the family is not in the table; the message names the
   *     nearest ones
   */
  public static ModelType of(String modelType) {
    ModelType found =
        Table.ALL.get(
            Objects.requireNonNull(
                modelType,
                "modelType: null; expected a model_type, as a model's config.json has it"));
    if (found == null) {
      throw new IllegalArgumentException(
          "modelType: \""
              + modelType
              + "\" is not known; the nearest known are "
              + String.join(", ", nearest(modelType)));
    }
    return found;
  }

  /** Returns the entry of a model family, or empty if the table does not have it. */
  public static Optional<ModelType> find(String modelType) {
    return Optional.ofNullable(
        Table.ALL.get(
            Objects.requireNonNull(
                modelType,
                "modelType: null; expected a model_type, as a model's config.json has it")));
  }

  /** Returns all families by {@code model_type}, in the table's order. */
  public static Map<String, ModelType> all() {
    return Table.ALL;
  }

  private static List<String> nearest(String modelType) {
    return Table.ALL.keySet().stream()
        .sorted(Comparator.comparingInt(known -> editDistance(known, modelType)))
        .limit(5)
        .toList();
  }

  private static int editDistance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j < row.length; j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j < row.length; j++) {
        int substitution = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(substitution, Math.min(row[j], row[j - 1]) + 1);
      }
    }
    return row[b.length()];
  }

  /** Reads the table on first use. */
  private static final class Table {
    static final ImmutableMap<String, ModelType> ALL = read();

    private static ImmutableMap<String, ModelType> read() {
      List<String> lines;
      try {
        lines =
            Resources.readLines(
                Resources.getResource(ModelType.class, "model_types.tsv"), StandardCharsets.UTF_8);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      ImmutableMap.Builder<String, ModelType> all = ImmutableMap.builder();
      for (String line : lines) {
        if (!line.startsWith("#") && !line.startsWith("model_type\t") && !line.isEmpty()) {
          ModelType row = parse(line);
          all.put(row.modelType, row);
        }
      }
      return all.buildOrThrow();
    }

    private static ModelType parse(String line) {
      List<String> fields = Splitter.on('\t').splitToList(line);
      checkState(fields.size() >= 7, "model_types.tsv: expected at least 7 fields in \"%s\"", line);
      NormPolicy policy = NormPolicy.presets().get(fields.get(2));
      checkState(policy != null, "model_types.tsv: unknown policy in \"%s\"", line);
      return new ModelType(
          fields.get(0),
          switch (fields.get(1)) {
            case "rms" -> NormKind.RMS_NORM;
            case "layer" -> NormKind.LAYER_NORM;
            default ->
                throw new IllegalStateException(
                    "model_types.tsv: unknown norm in \"" + line + "\"");
          },
          fields.get(2),
          policy,
          switch (fields.get(3)) {
            case "-" -> Affine.NONE;
            case "w" -> Affine.WEIGHT;
            case "b" -> Affine.BIAS;
            case "wb" -> Affine.WEIGHT_AND_BIAS;
            default ->
                throw new IllegalStateException(
                    "model_types.tsv: unknown affine in \"" + line + "\"");
          },
          fields.get(4).equals("-")
              ? ImmutableList.of()
              : ImmutableList.copyOf(Splitter.on(',').split(fields.get(4))),
          Double.parseDouble(fields.get(5)),
          fields.get(6),
          fields.size() > 7 ? fields.get(7) : "");
    }
  }
}
