package org.normcore.cli;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.PrintWriter;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import org.normcore.AnglePrecision;
import org.normcore.Cuda;
import org.normcore.DType;
import org.normcore.Fp8Scaling;
import org.normcore.ModelType;
import org.normcore.NormPolicy;
import org.normcore.Normcore;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import org.normcore.VectorLevel;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** Shows the capabilities of this build and this machine. */
@Command(
    name = "info",
    sortOptions = false,
    description =
        "Show the version, vector level, CUDA devices, operations, dtypes, policies and known model"
            + " types.")
public final class InfoCommand implements Callable<Integer> {
  private static final List<String> OPERATIONS = List.of("rms-norm", "layer-norm", "rotary", "fp8");

  @Spec private CommandSpec spec;

  @Override
  public Integer call() {
    Context context = Context.of(spec);
    if (context.json()) {
      context.print(document(context));
    } else {
      printText(context);
    }
    return 0;
  }

  private static JsonObject document(Context context) {
    JsonObject document = new JsonObject();
    document.addProperty("version", Normcore.version());
    document.addProperty("vector_level", OptionNames.of(VectorLevel.best()));
    document.addProperty("device", context.device().toString());
    document.addProperty("threads", context.threads());
    JsonObject cuda = new JsonObject();
    UnsupportedOperationException cause = Cuda.unavailabilityCause();
    cuda.addProperty("available", cause == null);
    cuda.addProperty("reason", cause == null ? null : cause.getMessage());
    JsonArray devices = new JsonArray();
    Cuda.devices().forEach(device -> devices.add(DeviceNames.json(device)));
    cuda.add("devices", devices);
    document.add("cuda", cuda);
    document.add("operations", array(OPERATIONS));
    document.add("fp8_scalings", array(names(Fp8Scaling.values())));
    document.add("rotary_layouts", array(names(RotaryLayout.values())));
    document.add("rotary_roundings", array(names(RotaryRounding.values())));
    document.add("rotary_angles", array(names(AnglePrecision.values())));
    document.add("dtypes", array(names(DType.values())));
    JsonArray policies = new JsonArray();
    for (NormPolicy policy : NormPolicy.presets().values()) {
      policies.add(PolicyText.json(policy));
    }
    document.add("policies", policies);
    JsonArray models = new JsonArray();
    for (ModelType type : ModelType.all().values()) {
      JsonObject model = new JsonObject();
      model.addProperty("model_type", type.modelType());
      model.addProperty("norm", OptionNames.of(type.norm()));
      model.addProperty("policy", OptionNames.of(type.policy()));
      model.addProperty("affine", OptionNames.of(type.affine()));
      model.addProperty("default_epsilon", type.defaultEpsilon());
      models.add(model);
    }
    document.add("model_types", models);
    return document;
  }

  private static List<String> names(Enum<?>[] constants) {
    return Arrays.stream(constants).map(OptionNames::of).toList();
  }

  private static JsonArray array(List<String> texts) {
    JsonArray array = new JsonArray();
    texts.forEach(array::add);
    return array;
  }

  private static void printText(Context context) {
    PrintWriter out = context.out();
    out.println("normcore      " + Normcore.version());
    out.println("vector level  " + OptionNames.of(VectorLevel.best()));
    out.println("threads       " + context.threads());
    UnsupportedOperationException cause = Cuda.unavailabilityCause();
    if (cause != null) {
      out.println("cuda          no: " + cause.getMessage());
    }
    Cuda.devices().forEach(device -> out.println("cuda          " + device));
    out.println("operations    " + String.join(", ", OPERATIONS));
    out.println("dtypes        " + String.join(", ", names(DType.values())));
    out.println("fp8 scaling   " + String.join(", ", names(Fp8Scaling.values())));
    out.println(
        "rotary        layouts "
            + String.join(", ", names(RotaryLayout.values()))
            + "; rounding "
            + String.join(", ", names(RotaryRounding.values()))
            + "; angles "
            + String.join(", ", names(AnglePrecision.values())));
    out.println();
    TextTable policies = new TextTable("policy", "scale rounding", "gamma offset", "formula");
    for (NormPolicy policy : NormPolicy.presets().values()) {
      policies.row(
          OptionNames.of(policy),
          OptionNames.of(policy.scaleRounding()),
          OptionNames.of(policy.gammaOffset()),
          PolicyText.formula(policy));
    }
    policies.print(out);
    out.println();
    out.println(
        "model types   "
            + ModelType.all().size()
            + " known, from Hugging Face transformers; --json lists them");
  }
}
