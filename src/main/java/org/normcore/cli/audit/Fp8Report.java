package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Optional;
import org.normcore.Device;
import org.normcore.cli.Numbers;

/**
 * The result of an audit of initial values.
 *
 * @param model the model's directory; empty for random values
 * @param seed the seed of random values
 * @param device the device of the quantisation
 * @param methods the quantisation methods
 * @param cases every tensor
 */
record Fp8Report(
    Optional<Path> model,
    long seed,
    Device device,
    ImmutableList<Fp8Method> methods,
    ImmutableList<Case> cases) {
  /**
   * One tensor.
   *
   * @param name its name
   * @param rows rows
   * @param columns elements of a row
   * @param losses the errors of each method
   */
  record Case(String name, long rows, long columns, ImmutableMap<Fp8Method, Fp8Losses> losses) {}

  /** The errors over all tensors. */
  Fp8Losses total(Fp8Method method) {
    return cases.stream().map(c -> c.losses.get(method)).reduce(Fp8Losses.NONE, Fp8Losses::plus);
  }

  /**
   * The tensors, sorted by the share of values that become zero with a scale of 1, largest first.
   */
  ImmutableList<Case> worstFirst() {
    return cases.stream()
        .sorted(
            Comparator.comparingDouble((Case c) -> -c.losses.get(methods.get(0)).zeroShare())
                .thenComparing(Case::name))
        .collect(ImmutableList.toImmutableList());
  }

  /** The errors in the headline: of all weights of a model, or of the first random case. */
  private Fp8Losses main(Fp8Method method) {
    return model.isPresent() ? total(method) : cases.get(0).losses.get(method);
  }

  private String values() {
    return model.isPresent() ? "of the model's weights" : "of random values, " + cases.get(0).name;
  }

  /** The result in a few words. */
  String headline() {
    return Numbers.percent(main(methods.get(0)).zeroShare())
        + " "
        + values()
        + " become zero in "
        + methods.get(0).format()
        + " with a scale of 1";
  }

  /** The result in a sentence or two. */
  String conclusion() {
    Fp8Method one = methods.get(0);
    Fp8Method own = methods.get(1);
    double kept = methods.stream().mapToDouble(method -> total(method).keptError()).max().orElse(0);
    return "Quantised straight to "
        + one.format()
        + " with a scale of 1, "
        + Numbers.percent(main(one).zeroShare())
        + " "
        + values()
        + " become zero; with a scale computed from the data "
        + Numbers.percent(main(own).zeroShare())
        + " do. Masters recovered from the FP8 bits are off by "
        + Numbers.percent(main(one).rmsError())
        + " (root mean square, relative to the values) with a scale of 1 and by "
        + Numbers.percent(main(own).rmsError())
        + " with a computed scale; masters from the kept initial values are off by "
        + Numbers.shortest(kept)
        + "."
        + nonFinite();
  }

  private String nonFinite() {
    long count = total(methods.get(0)).nonFinite();
    return count == 0
        ? ""
        : " Excluded from all numbers except the kept values' error: "
            + count
            + (count == 1 ? " value that is" : " values that are")
            + " NaN or infinite.";
  }
}
