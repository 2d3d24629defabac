package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.normcore.ComputeType;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.GammaOffset;
import org.normcore.NormPolicy;
import org.normcore.TensorView;
import org.normcore.cli.OptionNames;
import org.normcore.cli.Progress;
import org.normcore.cli.compare.Comparison;

/**
 * Evaluates every norm in every type under every policy and compares the results with those of the
 * first policy.
 */
final class Auditor {
  /** The name of {@link PlainHuggingFace} among the policies. */
  static final String PLAIN = "plain-evaluation";

  private final ImmutableList<NormPolicy> policies;
  private final ImmutableList<DType> dtypes;
  private final Gaussian gaussian;
  private final Device device;
  private final int threads;
  private final List<AuditCase> cases = new ArrayList<>();
  private final List<RecordedCase> recorded = new ArrayList<>();

  Auditor(
      ImmutableList<NormPolicy> policies,
      ImmutableList<DType> dtypes,
      Gaussian gaussian,
      Device device,
      int threads) {
    this.policies = policies;
    this.dtypes = dtypes;
    this.gaussian = gaussian;
    this.device = device;
    this.threads = threads;
  }

  void run(NormCaseSource source) throws IOException {
    try (Progress progress = Progress.start("audit", (long) source.count() * dtypes.size())) {
      for (int i = 0; i < source.count(); i++) {
        try (Arena arena = new Arena()) {
          NormCase normCase = source.get(i, arena);
          for (DType dtype : dtypes) {
            run(normCase, dtype);
            progress.step(normCase.name());
          }
        }
      }
    }
  }

  List<AuditCase> cases() {
    return cases;
  }

  List<RecordedCase> recorded() {
    return recorded;
  }

  private void run(NormCase normCase, DType dtype) {
    try (Arena arena = new Arena()) {
      run(normCase, dtype, new Evaluation(normCase, dtype, gaussian, device, threads, arena));
    }
  }

  private void run(NormCase normCase, DType dtype, Evaluation evaluation) {
    List<PolicyResult> results = policies.stream().map(evaluation::under).toList();
    for (int i = 1; i < results.size(); i++) {
      compare(
          normCase,
          OptionNames.of(policies.get(0)),
          results.get(0),
          OptionNames.of(policies.get(i)),
          results.get(i));
    }
    int plain = policies.indexOf(NormPolicy.HUGGING_FACE_LLAMA);
    if (plain >= 0 && dtype != DType.FLOAT64) {
      PolicyResult result = results.get(plain);
      compare(
          normCase, OptionNames.of(policies.get(plain)), result, PLAIN, evaluation.plainly(result));
    }
    if (normCase.recordedY().isPresent() && normCase.recordedY().get().dtype() == dtype) {
      for (int i = 0; i < results.size(); i++) {
        judge(normCase, evaluation, policies.get(i), results.get(i));
      }
    }
  }

  private void compare(
      NormCase normCase, String nameA, PolicyResult a, String nameB, PolicyResult b) {
    ImmutableMap.Builder<String, Comparison> tensors = ImmutableMap.builder();
    a.tensors()
        .forEach(
            (name, tensor) -> {
              if (b.tensors().containsKey(name)) {
                tensors.put(name, Comparison.of(tensor, b.tensors().get(name)));
              }
            });
    cases.add(
        new AuditCase(
            normCase.name(),
            normCase.kind(),
            normCase.epsilon(),
            a.dtype(),
            normCase.rows(),
            normCase.hiddenSize(),
            normCase.drawn(),
            nameA,
            nameB,
            tensors.buildOrThrow()));
  }

  private void judge(
      NormCase normCase, Evaluation evaluation, NormPolicy policy, PolicyResult result) {
    double[] gamma = normCase.weight().toDoubles();
    if (policy.gammaOffset() != GammaOffset.NONE) {
      for (int i = 0; i < gamma.length; i++) {
        gamma[i] += 1;
      }
    }
    Optional<double[]> bias = normCase.bias().map(TensorView::toDoubles);
    double[] exact =
        new ExactNorm(normCase.kind(), normCase.epsilon(), gamma, bias)
            .apply(normCase.x().toDoubles());
    PolicyResult wide = evaluation.under(policy.toBuilder().compute(ComputeType.FLOAT64).build());
    recorded.add(
        new RecordedCase(
            normCase.name(),
            result.dtype(),
            OptionNames.of(policy),
            RecordedCase.Errors.of(normCase.recordedY().orElseThrow().toDoubles(), exact),
            RecordedCase.Errors.of(result.y().toDoubles(), exact),
            RecordedCase.Errors.of(wide.y().toDoubles(), exact)));
  }
}
