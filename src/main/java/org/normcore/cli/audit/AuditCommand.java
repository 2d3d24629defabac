package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.normcore.DType;
import org.normcore.NormPolicy;
import org.normcore.cli.BadInput;
import org.normcore.cli.Context;
import org.normcore.cli.OptionNames;
import org.normcore.cli.RotaryOptions;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Compares the results of the policies. */
@Command(
    name = "audit",
    sortOptions = false,
    description = {
      "Measure the differences between the policies' results, forward and backward.",
      "",
      "With --model: on the norms of a Hugging Face model (a directory with config.json and *.safetensors) or of an ONNX"
          + " model. Without --model: on a built-in case, RMSNorm of"
          + " [1, 1024, 4096] in bfloat16, epsilon 1e-5.",
      "",
      "With --rotary: the errors of several methods to build rotary position tables, and the errors of the"
          + " scores of queries and keys. With --fp8: the errors of initial values quantised to FP8; random values or, with"
          + " --model, its weights.",
      ""
    })
public final class AuditCommand implements Callable<Integer> {
  private static final long MODEL_ROWS = 128;
  private static final long MOST_HIDDEN = 1 << 20;

  @Spec private CommandSpec spec;

  @ArgGroup(exclusive = true)
  private Mode mode = new Mode();

  /** What to audit instead of norms. */
  static final class Mode {
    @Option(names = "--rotary", description = "Audit rotary position tables.")
    private boolean rotary;

    @Option(names = "--fp8", description = "Audit initial values quantised to FP8.")
    private boolean fp8;
  }

  @Option(
      names = "--model",
      paramLabel = "PATH",
      description = "The model's directory, or its .onnx file.")
  private Path model;

  @Option(
      names = "--activations",
      paramLabel = "FILE",
      description =
          "A safetensors file with the hidden states of the model's norms as <norm>.x and,"
              + " optionally, outputs to check as <norm>.y. Default: random hidden states.")
  private Path activations;

  @Option(
      names = "--policies",
      split = ",",
      paramLabel = "NAME",
      description =
          "The policies; each is compared with the first. Default: the policy of the model,"
              + " transformer-engine and hugging-face-llama.")
  private List<NormPolicy> policies;

  @Option(
      names = "--rows",
      paramLabel = "N",
      description =
          "Rows of random hidden states or values. Default: 1024, or "
              + MODEL_ROWS
              + " for each norm of a model.")
  private Long rows;

  @Option(
      names = "--hidden",
      paramLabel = "N",
      description = "The length of a row without --model. Default: 4096; with --fp8 1024.")
  private Long hidden;

  @Option(
      names = "--dtype",
      split = ",",
      paramLabel = "TYPE",
      description =
          "The types of the tensors. Default: bfloat16; for a model the type in its config.json, and bfloat16 with"
              + " float32. With --rotary the types of tables: float32, bfloat16, float16. Default: all three.")
  private List<DType> dtypes;

  @Option(
      names = "--seed",
      paramLabel = "S",
      defaultValue = "0",
      description = "The seed of the random numbers. Default: ${DEFAULT-VALUE}.")
  private long seed;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      defaultValue = "normcore-audit",
      description =
          "The directory for report.html and audit.json; rotary.html and rotary.json; fp8.html and"
              + " fp8.json. Default: ${DEFAULT-VALUE}.")
  private Path out;

  @Mixin private RotaryOptions rotaryOptions;

  @Option(
      names = "--head-dim",
      paramLabel = "N",
      description = "With --rotary and without --config: the elements of a head. Default: 128.")
  private Integer headDim;

  @Option(
      names = "--max-position",
      paramLabel = "N",
      description =
          "With --rotary: the number of positions, from 0. Default: max_position_embeddings of the"
              + " config, or "
              + RotaryAudit.USUAL_POSITIONS
              + ".")
  private Long maxPosition;

  @Override
  public Integer call() throws IOException {
    Context context = Context.of(spec);
    check();
    if (mode.rotary) {
      return auditRotary(context);
    }
    if (mode.fp8) {
      return auditFp8(context);
    }
    AuditFiles files = new AuditFiles(out, "report.html", "audit.json");
    files.check();
    AuditReport report = model == null ? auditBuiltIn(context) : auditModel(context);
    JsonObject json = AuditJson.of(report);
    files.write(AuditHtml.of(report, json, commandLine()), json);
    return finish(context, files, json, () -> AuditText.print(report, context.out()));
  }

  private int auditRotary(Context context) throws IOException {
    AuditFiles files = new AuditFiles(out, "rotary.html", "rotary.json");
    files.check();
    RotaryAudit audit =
        new RotaryAudit(
            rotaryOptions,
            Optional.ofNullable(headDim),
            Optional.ofNullable(maxPosition),
            chosenDTypes(),
            seed);
    RotaryReport report = audit.run();
    JsonObject json = RotaryAuditJson.of(report);
    files.write(RotaryAuditHtml.of(report, json, commandLine()), json);
    return finish(context, files, json, () -> RotaryAuditText.print(report, context.out()));
  }

  private int auditFp8(Context context) throws IOException {
    AuditFiles files = new AuditFiles(out, "fp8.html", "fp8.json");
    files.check();
    Fp8Report report;
    try (Fp8Source source = fp8Source()) {
      report = new Fp8Auditor(context.device()).run(source, Optional.ofNullable(model), seed);
    }
    JsonObject json = Fp8AuditJson.of(report);
    files.write(Fp8AuditHtml.of(report, json, commandLine()), json);
    return finish(context, files, json, () -> Fp8AuditText.print(report, context.out()));
  }

  private Fp8Source fp8Source() throws IOException {
    return model == null
        ? new DrawnValues(
            new Gaussian(seed),
            rows == null ? DrawnValues.ROWS : rows,
            hidden == null ? DrawnValues.COLUMNS : hidden)
        : ModelWeights.open(model);
  }

  private static int finish(Context context, AuditFiles files, JsonObject json, Runnable print) {
    json.addProperty("report", files.page().toString());
    if (context.json()) {
      context.print(json);
    } else {
      print.run();
      context.out().println("Report: " + files.page().toAbsolutePath().normalize());
    }
    return 0;
  }

  private void check() {
    checkMode();
    if (activations != null && model == null) {
      throw new BadInput("--activations needs --model");
    }
    if (activations != null && rows != null) {
      throw new BadInput(
          "--rows can't be given with --activations, which determine the number of rows");
    }
    if (hidden != null && model != null) {
      throw new BadInput("--hidden can't be given with --model, which determines the hidden size");
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

  /** Rejects options that do not apply to the audit. */
  private void checkMode() {
    if (!mode.rotary) {
      refuse(
          rotaryOptions.isGiven() || headDim != null || maxPosition != null,
          "--config, --layer-type, --theta, --rotary-dim, --head-dim and --max-position",
          "need --rotary");
    }
    if (mode.rotary || mode.fp8) {
      String why = "can't be given with " + (mode.rotary ? "--rotary" : "--fp8");
      refuse(activations != null, "--activations", why);
      refuse(policies != null, "--policies", why);
      refuse(mode.fp8 && dtypes != null, "--dtype", why + ", which has its own types");
      refuse(mode.fp8 && model != null && rows != null, "--rows", why + " and --model");
      refuse(mode.rotary && model != null, "--model", why + ", expected --config FILE");
      refuse(mode.rotary && rows != null, "--rows", why);
      refuse(mode.rotary && hidden != null, "--hidden", why);
    }
  }

  private static void refuse(boolean given, String options, String why) {
    if (given) {
      throw new BadInput(options + " " + why);
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
      ModelFacts facts = source.facts(model);
      ImmutableList<NormPolicy> chosen =
          chosenPolicies().orElseGet(() -> DefaultPolicies.of(facts));
      DType own = source.ownDType();
      ImmutableList<DType> types =
          chosenDTypes()
              .orElse(
                  own == DType.FLOAT32
                      ? ImmutableList.of(own, DType.BFLOAT16)
                      : ImmutableList.of(own));
      return audit(context, source, Optional.of(facts), chosen, types, facts.epsilon());
    }
  }

  private AuditReport audit(
      Context context,
      NormCaseSource source,
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
