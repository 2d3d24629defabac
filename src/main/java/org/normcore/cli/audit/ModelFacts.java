package org.normcore.cli.audit;

import com.google.common.collect.HashMultiset;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.Multiset;
import com.google.common.collect.Multisets;
import com.google.gson.JsonObject;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Collectors;
import org.normcore.ModelType;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;

/**
 * The facts about the audited model.
 *
 * @param path its path
 * @param modelType its model_type
 * @param family the facts about that type
 * @param graph whether it is an ONNX graph
 * @param norms its norms
 */
record ModelFacts(
    Path path,
    Optional<String> modelType,
    Optional<ModelType> family,
    boolean graph,
    ImmutableList<ModelNorm> norms) {

  /** The most frequent kind of its norms. */
  NormKind kind() {
    return most(norms.stream().map(ModelNorm::kind).collect(Collectors.toList()));
  }

  /** The most frequent epsilon of its norms. */
  double epsilon() {
    return most(norms.stream().map(ModelNorm::epsilon).collect(Collectors.toList()));
  }

  private static <T> T most(Iterable<T> values) {
    return Multisets.copyHighestCountFirst(HashMultiset.create(values)).iterator().next();
  }

  /** Whether all norms are single nodes of norm operators. */
  private boolean hasOperators() {
    return norms.stream().allMatch(norm -> norm.operator().isPresent());
  }

  /** The policy of the model, if known. */
  Optional<NormPolicy> policy() {
    return family
        .map(ModelType::policy)
        .or(() -> hasOperators() ? Optional.of(NormPolicy.ONNX) : Optional.empty());
  }

  /** The policy of the model, in one sentence. */
  String sentence() {
    if (family.isPresent()) {
      return (graph ? "An ONNX graph of a " : "A ")
          + family.get().modelType()
          + " model: "
          + description()
          + ", which rounds as "
          + OptionNames.of(family.get().policy())
          + " does ("
          + family.get().source()
          + ").";
    }
    if (graph) {
      return "An ONNX graph: "
          + description()
          + (hasOperators()
              ? "; by definition these operators round as onnx does."
              : "; without a config.json the model family and its policy are not known.");
    }
    return modelType
            .map(type -> "The model_type " + type + " is not known")
            .orElse("The config.json has no model_type")
        + "; the audit assumes "
        + description()
        + ", and the matching policy is not known.";
  }

  /** The norms by kind and epsilon and, for a graph, by operator. */
  private String description() {
    Multiset<String> groups = HashMultiset.create();
    for (ModelNorm norm : norms) {
      groups.add(
          OptionNames.of(norm.kind())
              + " with epsilon "
              + Numbers.exact(norm.epsilon())
              + (graph ? norm.operator().map(op -> " as " + op).orElse(", spelled out") : ""));
    }
    return groups.elementSet().size() == 1 && !graph
        ? groups.iterator().next()
        : Multisets.copyHighestCountFirst(groups).entrySet().stream()
            .map(group -> group.getCount() + " x " + group.getElement())
            .collect(Collectors.joining(", "));
  }

  JsonObject json() {
    JsonObject json = new JsonObject();
    json.addProperty("directory", path.toString());
    json.addProperty("onnx", graph);
    json.addProperty("model_type", modelType.orElse(null));
    json.addProperty("known", family.isPresent());
    json.addProperty("op", OptionNames.of(kind()));
    json.addProperty("policy", policy().map(OptionNames::of).orElse(null));
    json.addProperty("epsilon", epsilon());
    json.addProperty("norms", norms.size());
    json.addProperty("source", family.map(ModelType::source).orElse(null));
    json.addProperty("note", family.map(ModelType::note).orElse(null));
    return json;
  }
}
