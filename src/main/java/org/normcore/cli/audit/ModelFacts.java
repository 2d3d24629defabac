package org.normcore.cli.audit;

import com.google.gson.JsonObject;
import java.nio.file.Path;
import java.util.Optional;
import org.normcore.ModelType;
import org.normcore.NormKind;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;

/**
 * What is known of the model that was audited.
 *
 * @param directory where it lies
 * @param modelType its model_type
 * @param family what is known of that
 * @param kind which norm it has
 * @param epsilon its epsilon
 * @param norms how many norms were found
 */
record ModelFacts(
    Path directory,
    Optional<String> modelType,
    Optional<ModelType> family,
    NormKind kind,
    double epsilon,
    int norms) {

  /** Which policy fits the model, in one sentence. */
  String sentence() {
    String norm = OptionNames.of(kind) + " with epsilon " + Numbers.exact(epsilon);
    if (family.isPresent()) {
      return "A "
          + family.get().modelType()
          + " model: "
          + norm
          + ", which rounds as "
          + OptionNames.of(family.get().policy())
          + " does ("
          + family.get().source()
          + ").";
    }
    return modelType
            .map(type -> "The model_type " + type + " is not known")
            .orElse("The model names no model_type")
        + "; its norms are taken for "
        + norm
        + ", and which policy fits it is not known.";
  }

  JsonObject json() {
    JsonObject json = new JsonObject();
    json.addProperty("directory", directory.toString());
    json.addProperty("model_type", modelType.orElse(null));
    json.addProperty("known", family.isPresent());
    json.addProperty("op", OptionNames.of(kind));
    json.addProperty("policy", family.map(f -> OptionNames.of(f.policy())).orElse(null));
    json.addProperty("epsilon", epsilon);
    json.addProperty("norms", norms);
    json.addProperty("source", family.map(ModelType::source).orElse(null));
    json.addProperty("note", family.map(ModelType::note).orElse(null));
    return json;
  }
}
