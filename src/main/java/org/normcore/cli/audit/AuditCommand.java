package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.normcore.DType;
import org.normcore.NormPolicy;
import org.normcore.cli.BadInput;
import org.normcore.cli.Context;
import org.normcore.cli.Json;
import org.normcore.cli.OptionNames;
import org.normcore.cli.safetensors.AtomicFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The main job: how far apart do the policies' results lie? */
@Command(
    name = "audit",
    sortOptions = false,
    description = {
      "Measure how far apart the policies' results lie, forward and backward.",
      "",
      "With --model, on the norms of a Hugging Face model: a directory with config.json and *.safetensors. Without, on"
          + " the case of the report that started it: RMSNorm of [1, 1024, 4096] in bfloat16, epsilon 1e-5.",
      ""
    })
public final class AuditCommand implements Callable<Integer> {
  private static final long MODEL_ROWS = 128;
  private static final long MOST_HIDDEN = 1 << 20;
  private static final String HTML = "report.html";
  private static final String JSON = "audit.json";

  @Spec private CommandSpec spec;

  @Option(names = "--model", paramLabel = "DIR", description = "The model's directory.")
  private Path model;

  @Option(
      names = "--activations",
      paramLabel = "FILE",
      description =
          "A safetensors file with the hidden states of the model's norms as <norm>.x and, if it has them, outputs to"
              + " judge as <norm>.y. Without it hidden states are drawn.")
  private Path activations;

  @Option(
      names = "--policies",
      split = ",",
      paramLabel = "NAME",
      description =
          "The policies; each is compared with the first. Default: the one that fits the model, transformer-engine and"
              + " hugging-face-llama.")
  private List<NormPolicy> policies;

  @Option(
      names = "--rows",
      paramLabel = "N",
      description =
          "Rows of hidden states to draw. Default: 1024, or "
              + MODEL_ROWS
              + " for each norm of a model.")
  private Long rows;

  @Option(
      names = "--hidden",
      paramLabel = "N",
      description = "The length of a row without --model. Default: 4096.")
  private Long hidden;

  @Option(
      names = "--dtype",
      split = ",",
      paramLabel = "TYPE",
      description =
          "The types to compute in. Default: bfloat16; for a model the type in its config.json, and bfloat16 with"
              + " float32.")
  private List<DType> dtypes;

  @Option(
      names = "--seed",
      paramLabel = "S",
      defaultValue = "0",
      description = "What the drawn numbers come from. Default: ${DEFAULT-VALUE}.")
  private long seed;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      defaultValue = "normcore-audit",
      description = "Where report.html and audit.json are written. Default: ${DEFAULT-VALUE}.")
  private Path out;

  @Override
  public Integer call() throws IOException {
    Context context = Context.of(spec);
    check();
    checkOut();
    AuditReport report = model == null ? auditBuiltIn(context) : auditModel(context);
    JsonObject json = AuditJson.of(report);
    Files.createDirectories(out);
    Path html = out.resolve(HTML);
    AuditHtml.write(report, json, commandLine(), html);
    AuditHtml.writeText(out.resolve(JSON), Json.toText(json));
    json.addProperty("report", html.toString());
    if (context.json()) {
      context.print(json);
    } else {
      AuditText.print(report, context.out());
      context.out().println("Report: " + html.toAbsolutePath().normalize());
    }
    return 0;
  }

  private void check() {
    if (activations != null && model == null) {
      throw new BadInput("--activations needs --model, whose norms they are the hidden states of");
    }
    if (activations != null && rows != null) {
      throw new BadInput(
          "--rows can't be given with --activations, which have their own number of rows");
    }
    if (hidden != null && model != null) {
      throw new BadInput("--hidden can't be given with --model, which has its own hidden size");
    }
    if (rows != null && rows < 1) {
      throw new BadInput("--rows is " + rows + ", expected at least 1");
    }
    if (hidden != null && (hidden < 1 || hidden > MOST_HIDDEN)) {
      throw new BadInput("--hidden is " + hidden + ", expected 1 to " + MOST_HIDDEN);
    }
    for (DType dtype : dtypes == null ? List.<DType>of() : dtypes) {
      if (!dtype.isNormType()) {
        throw new BadInput(
            "--dtype is "
                + OptionNames.of(dtype)
                + ", expected float64, float32, bfloat16 or float16");
      }
    }
  }

  /** Before the work, so that neither the work nor half a report is lost to a wrong path. */
  private void checkOut() throws IOException {
    Path existing = out.toAbsolutePath();
    while (existing != null && !Files.exists(existing)) {
      existing = existing.getParent();
    }
    if (existing != null && !Files.isDirectory(existing)) {
      throw new BadInput(
          "--out is " + out + ", but " + existing + " is a file, expected a directory");
    }
    if (Files.isDirectory(out)) {
      AtomicFile.check(out.resolve(HTML));
      AtomicFile.check(out.resolve(JSON));
    }
  }

  private AuditReport auditBuiltIn(Context context) throws IOException {
    long height = rows == null ? BuiltInCase.ROWS : rows;
    long width = hidden == null ? BuiltInCase.HIDDEN_SIZE : hidden;
    try (BuiltInCase source = new BuiltInCase(new Gaussian(seed), height, width)) {
      ImmutableList<NormPolicy> chosen =
          chosenPolicies()
              .orElse(
                  ImmutableList.of(NormPolicy.TRANSFORMER_ENGINE, NormPolicy.HUGGING_FACE_LLAMA));
      ImmutableList<DType> types = chosenDTypes().orElse(ImmutableList.of(DType.BFLOAT16));
      return audit(context, source, Optional.empty(), chosen, types, BuiltInCase.EPSILON);
    }
  }

  private AuditReport auditModel(Context context) throws IOException {
    long height = rows == null ? MODEL_ROWS : rows;
    try (ModelNorms source =
        ModelNorms.open(model, Optional.ofNullable(activations), new Gaussian(seed), height)) {
      ModelConfig config = source.config();
      ModelFacts facts =
          new ModelFacts(
              model,
              config.modelType(),
              config.family(),
              source.kind(),
              config.epsilon(),
              source.count());
      ImmutableList<NormPolicy> chosen =
          chosenPolicies().orElseGet(() -> DefaultPolicies.of(config.family()));
      DType own = config.dtype().orElse(source.storedDType());
      ImmutableList<DType> types =
          chosenDTypes()
              .orElse(
                  own == DType.FLOAT32
                      ? ImmutableList.of(own, DType.BFLOAT16)
                      : ImmutableList.of(own));
      return audit(context, source, Optional.of(facts), chosen, types, config.epsilon());
    }
  }

  private AuditReport audit(
      Context context,
      SubjectSource source,
      Optional<ModelFacts> facts,
      ImmutableList<NormPolicy> chosen,
      ImmutableList<DType> types,
      double epsilon)
      throws IOException {
    Auditor auditor =
        new Auditor(chosen, types, new Gaussian(seed), context.device(), context.threads());
    auditor.run(source);
    return new AuditReport(
        facts,
        chosen,
        types,
        context.device(),
        epsilon,
        seed,
        ImmutableList.copyOf(auditor.cases()),
        ImmutableList.copyOf(auditor.recorded()));
  }

  private Optional<ImmutableList<NormPolicy>> chosenPolicies() {
    return Optional.ofNullable(policies).map(ImmutableList::copyOf);
  }

  private Optional<ImmutableList<DType>> chosenDTypes() {
    return Optional.ofNullable(dtypes)
        .map(types -> types.stream().distinct().collect(ImmutableList.toImmutableList()));
  }

  private String commandLine() {
    return "normcore "
        + String.join(" ", spec.root().commandLine().getParseResult().originalArgs());
  }
}
