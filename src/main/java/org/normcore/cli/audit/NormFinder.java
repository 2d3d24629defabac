package org.normcore.cli.audit;

import com.google.common.base.Ascii;
import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.normcore.cli.safetensors.TensorEntry;

/** Finds the norms of a model: one-dimensional weights of modules with the name of a norm. */
final class NormFinder {
  private static final ImmutableMap<String, String> BIAS_OF =
      ImmutableMap.of("weight", "bias", "gamma", "beta", "scale", "bias");
  private static final Pattern MODULE = Pattern.compile(".*norm.*|ln|ln_.*|.*_ln|ln[0-9]+");
  private static final Pattern OTHER_NORM =
      Pattern.compile(".*(batch_?norm|group_?norm|instance_?norm|weight_?norm).*");
  private static final Pattern DIGITS = Pattern.compile("\\d+");

  private NormFinder() {}

  /** The norms in natural order: numbers in names are compared by value. */
  static ImmutableList<NormModule> find(Map<String, TensorEntry> tensors) {
    return tensors.values().stream()
        .map(entry -> module(entry, tensors))
        .flatMap(Optional::stream)
        .sorted((a, b) -> sortKey(a.name()).compareTo(sortKey(b.name())))
        .collect(ImmutableList.toImmutableList());
  }

  private static Optional<NormModule> module(TensorEntry entry, Map<String, TensorEntry> tensors) {
    int dot = entry.name().lastIndexOf('.');
    if (dot < 0 || !isVector(entry)) {
      return Optional.empty();
    }
    String biasName = BIAS_OF.get(entry.name().substring(dot + 1));
    String module = entry.name().substring(0, dot);
    String last = Ascii.toLowerCase(module.substring(module.lastIndexOf('.') + 1));
    boolean hasStatistics = tensors.containsKey(module + ".running_mean");
    if (biasName == null
        || hasStatistics
        || !MODULE.matcher(last).matches()
        || OTHER_NORM.matcher(last).matches()) {
      return Optional.empty();
    }
    TensorEntry bias = tensors.get(module + "." + biasName);
    boolean hasBias = bias != null && isVector(bias) && bias.elements() == entry.elements();
    return Optional.of(
        new NormModule(
            module,
            entry.name(),
            hasBias ? Optional.of(bias.name()) : Optional.empty(),
            entry.elements()));
  }

  private static boolean isVector(TensorEntry entry) {
    boolean wide = entry.type().dtype().isPresent() && entry.type().bytes() > 1;
    return wide && entry.shape().length() == 1 && entry.elements() > 0;
  }

  private static String sortKey(String name) {
    return DIGITS
        .matcher(name)
        .replaceAll(match -> Matcher.quoteReplacement(padded(match.group())));
  }

  private static String padded(String digits) {
    return "0".repeat(Math.max(0, 8 - digits.length())) + digits;
  }
}
