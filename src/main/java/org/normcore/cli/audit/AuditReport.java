package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import java.util.Comparator;
import java.util.Optional;
import java.util.function.Function;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.NormPolicy;
import org.normcore.cli.Numbers;
import org.normcore.cli.OptionNames;

/**
 * The result of an audit.
 *
 * @param model the facts about the model; empty for the built-in case
 * @param policies the policies; the others are compared with the first
 * @param dtypes the types
 * @param device the device of the evaluation
 * @param epsilon epsilon
 * @param seed the seed of the random numbers
 * @param cases every norm, type and pair
 * @param recorded every norm with a recorded output, by policy
 */
record AuditReport(
    Optional<ModelFacts> model,
    ImmutableList<NormPolicy> policies,
    ImmutableList<DType> dtypes,
    Device device,
    double epsilon,
    long seed,
    ImmutableList<AuditCase> cases,
    ImmutableList<RecordedCase> recorded) {

  ImmutableList<PolicyComparison> policyComparisons() {
    return PolicyComparison.of(cases, dtypes);
  }

  /** The main finding: the pair of policies with the largest difference. */
  Optional<PolicyComparison> main() {
    return policyComparisons().stream()
        .filter(compared -> !compared.isCheck())
        .max(Comparator.comparingDouble(compared -> compared.y().differingShare()));
  }

  /** The result in a few words. */
  String headline() {
    if (main().isEmpty()) {
      return "One policy, no comparison";
    }
    PolicyComparison main = main().get();
    if (main.isEqual()) {
      return "No output depends on where the norm rounds";
    }
    return Numbers.percent(main.y().differingShare())
        + " of the outputs depend on where the norm rounds, in "
        + OptionNames.of(main.dtype());
  }

  /** The result in one sentence. */
  String conclusion() {
    return main()
        .map(PolicyComparison::sentence)
        .orElse("Only one policy was given, so nothing was compared.");
  }

  /** The errors of the recorded outputs under the first policy, in one sentence. */
  Optional<String> recordedSentence() {
    String policy = OptionNames.of(policies.get(0));
    long all = recorded.stream().filter(r -> r.policy().equals(policy)).count();
    if (all == 0) {
      return Optional.empty();
    }
    long nearer = count(policy, RecordedCase::normcore);
    long nearerInDouble = count(policy, RecordedCase::normcoreFloat64);
    return Optional.of(
        "Under "
            + policy
            + ", Normcore's largest error against the exact value is below that of the recorded output in "
            + nearer
            + " of "
            + all
            + " norms, and in "
            + nearerInDouble
            + " with compute type float64.");
  }

  private long count(String policy, Function<RecordedCase, RecordedCase.Errors> errors) {
    return recorded.stream()
        .filter(r -> r.policy().equals(policy) && errors.apply(r).max() < r.recorded().max())
        .count();
  }
}
