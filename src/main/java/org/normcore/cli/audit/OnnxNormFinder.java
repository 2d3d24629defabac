package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableListMultimap;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.ImmutableSet;
import java.io.IOException;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import org.normcore.DType;
import org.normcore.NormKind;
import org.normcore.cli.onnx.OnnxFile;
import org.normcore.cli.onnx.OnnxNode;
import org.normcore.cli.safetensors.TensorEntry;

/**
 * Finds the norms in an ONNX graph: single nodes, and norms composed from simpler operators.
 *
 * <p>A composed LayerNorm is
 *
 * <pre>
 * mean = ReduceMean(x), d = Sub(x, mean), v = ReduceMean(Pow(d, 2)), s = Sqrt(Add(v, epsilon)),
 * n = Div(d, s), y = Add(Mul(n, weight), bias)
 * </pre>
 *
 * and an RMSNorm the same without mean and bias. {@code Mul(d, d)} also matches the square, and a
 * product with {@code Reciprocal(s)} or {@code Div(1, s)} the quotient; conversions in between are
 * skipped. Norms that share their parameters count once.
 */
final class OnnxNormFinder {
  private static final double USUAL_EPSILON = 1e-5;
  private static final double FUSED_EPSILON = 1e-12;
  private static final ImmutableSet<String> DOMAINS =
      ImmutableSet.of("", "ai.onnx", "com.microsoft");
  private static final ImmutableMap<String, Operator> OPERATORS =
      ImmutableMap.of(
          "LayerNormalization",
          new Operator(NormKind.LAYER_NORM, 1, 2, USUAL_EPSILON),
          "SimplifiedLayerNormalization",
          new Operator(NormKind.RMS_NORM, 1, -1, USUAL_EPSILON),
          "RMSNormalization",
          new Operator(NormKind.RMS_NORM, 1, -1, USUAL_EPSILON),
          "SkipLayerNormalization",
          new Operator(NormKind.LAYER_NORM, 2, 3, FUSED_EPSILON),
          "SkipSimplifiedLayerNormalization",
          new Operator(NormKind.RMS_NORM, 2, -1, FUSED_EPSILON),
          "EmbedLayerNormalization",
          new Operator(NormKind.LAYER_NORM, 5, 6, FUSED_EPSILON));

  /**
   * A norm that is one node.
   *
   * @param kind which norm it is
   * @param weight the input index of the weight
   * @param bias the input index of the bias, or -1
   * @param epsilon epsilon if the attribute is missing
   */
  private record Operator(NormKind kind, int weight, int bias, double epsilon) {}

  private final OnnxFile model;
  private final Map<String, OnnxNode> makers = new HashMap<>();
  private final ImmutableListMultimap<String, OnnxNode> readers;
  private final Map<String, ModelNorm> norms = new LinkedHashMap<>();

  private OnnxNormFinder(OnnxFile model) {
    this.model = model;
    for (OnnxNode node : model.nodes()) {
      node.outputs().forEach(output -> makers.put(output, node));
    }
    ImmutableListMultimap.Builder<String, OnnxNode> all = ImmutableListMultimap.builder();
    for (OnnxNode node : model.nodes()) {
      ImmutableSet.copyOf(node.inputs()).forEach(input -> all.put(input, node));
    }
    this.readers = all.build();
  }

  /** The norms in the order of computation. */
  static ImmutableList<ModelNorm> find(OnnxFile model) throws IOException {
    OnnxNormFinder finder = new OnnxNormFinder(model);
    for (OnnxNode node : model.nodes()) {
      if (DOMAINS.contains(node.domain())) {
        if (OPERATORS.containsKey(node.op())) {
          finder.addOperator(node, OPERATORS.get(node.op()));
        } else if (node.op().equals("Sqrt")) {
          finder.addSpelledOut(node);
        }
      }
    }
    return ImmutableList.copyOf(finder.norms.values());
  }

  private void addOperator(OnnxNode node, Operator operator) {
    double epsilon = node.numbers().getOrDefault("epsilon", operator.epsilon());
    Optional<TensorEntry> weight = parameter(node.input(operator.weight()));
    Optional<TensorEntry> bias =
        operator.bias() < 0 ? Optional.empty() : parameter(node.input(operator.bias()));
    weight.ifPresent(w -> add(node, operator.kind(), epsilon, w, bias, Optional.of(node.op())));
  }

  private void addSpelledOut(OnnxNode sqrt) throws IOException {
    Optional<OnnxNode> sum = maker(sqrt.input(0), "Add");
    if (sum.isEmpty()) {
      return;
    }
    for (int i = 0; i < 2; i++) {
      OptionalDouble epsilon = number(sum.get().input(1 - i));
      Optional<OnnxNode> mean = maker(sum.get().input(i), "ReduceMean");
      if (epsilon.isPresent() && mean.isPresent() && isOfRows(mean.get())) {
        Optional<String> squared = squared(mean.get().input(0));
        if (squared.isPresent()) {
          addSpelledOut(sqrt, squared.get(), epsilon.getAsDouble());
        }
      }
    }
  }

  /** The value whose square the given value is. */
  private Optional<String> squared(String value) throws IOException {
    Optional<OnnxNode> power = maker(value, "Pow");
    if (power.isPresent() && number(power.get().input(1)).equals(OptionalDouble.of(2))) {
      return Optional.of(plain(power.get().input(0)));
    }
    return maker(value, "Mul")
        .filter(product -> product.input(0).equals(product.input(1)))
        .map(product -> plain(product.input(0)));
  }

  private void addSpelledOut(OnnxNode sqrt, String d, double epsilon) throws IOException {
    NormKind kind = isCentred(d) ? NormKind.LAYER_NORM : NormKind.RMS_NORM;
    for (OnnxNode reader : readers(sqrt.output(0))) {
      boolean over = reader.op().equals("Div") && same(plain(reader.input(0)), d);
      boolean inverse =
          reader.op().equals("Reciprocal")
              || (reader.op().equals("Div")
                  && number(reader.input(0)).equals(OptionalDouble.of(1)));
      if (over) {
        addScaled(reader, kind, epsilon);
      } else if (inverse) {
        for (OnnxNode product : readers(reader.output(0))) {
          if (product.op().equals("Mul")
              && (same(plain(product.input(0)), d) || same(plain(product.input(1)), d))) {
            addScaled(product, kind, epsilon);
          }
        }
      }
    }
  }

  /** Whether a value is another value minus the mean of its rows. */
  private boolean isCentred(String value) {
    Optional<OnnxNode> difference = maker(value, "Sub");
    Optional<OnnxNode> mean = difference.flatMap(sub -> maker(sub.input(1), "ReduceMean"));
    return mean.isPresent()
        && isOfRows(mean.get())
        && plain(mean.get().input(0)).equals(plain(difference.get().input(0)));
  }

  /** Whether two values are identical, or the same difference computed twice. */
  private boolean same(String a, String b) {
    if (a.equals(b)) {
      return true;
    }
    Optional<OnnxNode> subA = maker(a, "Sub");
    Optional<OnnxNode> subB = maker(b, "Sub");
    return subA.isPresent() && subB.isPresent() && subA.get().inputs().equals(subB.get().inputs());
  }

  /** Adds the norm whose normalised value a node computes. */
  private void addScaled(OnnxNode normalised, NormKind kind, double epsilon) {
    for (OnnxNode product : readers(normalised.output(0))) {
      Optional<TensorEntry> weight =
          product.op().equals("Mul") ? operand(product) : Optional.empty();
      if (weight.isPresent() && weight.get().shape().length() == 1) {
        Optional<TensorEntry> bias =
            readers(product.output(0)).stream()
                .filter(reader -> reader.op().equals("Add"))
                .map(this::operand)
                .flatMap(Optional::stream)
                .filter(entry -> entry.shape().equals(weight.get().shape()))
                .findFirst();
        add(product, kind, epsilon, weight.get(), bias, Optional.empty());
      }
    }
  }

  private void add(
      OnnxNode node,
      NormKind kind,
      double epsilon,
      TensorEntry weight,
      Optional<TensorEntry> bias,
      Optional<String> operator) {
    NormModule module =
        new NormModule(
            name(node, weight.name()),
            weight.name(),
            bias.filter(b -> b.elements() == weight.elements()).map(TensorEntry::name),
            weight.elements());
    norms.putIfAbsent(module.name(), new ModelNorm(module, kind, epsilon, operator));
  }

  /** The module's name: the weight's name without its last component, else the node's name. */
  private static String name(OnnxNode node, String weight) {
    for (String last : new String[] {".weight", ".gamma", ".scale"}) {
      if (weight.endsWith(last) && weight.length() > last.length()) {
        return weight.substring(0, weight.length() - last.length());
      }
    }
    return node.name().isEmpty() ? weight : node.name();
  }

  /** The constant among the two inputs of a node, if it can be a norm's parameter. */
  private Optional<TensorEntry> operand(OnnxNode node) {
    return parameter(node.input(1)).or(() -> parameter(node.input(0)));
  }

  private Optional<TensorEntry> parameter(String value) {
    return Optional.ofNullable(model.entries().get(plain(value)))
        .filter(entry -> entry.type().dtype().map(DType::isNormType).orElse(false))
        .filter(entry -> entry.shape().length() > 0 && entry.elements() > 0);
  }

  private OptionalDouble number(String value) throws IOException {
    Optional<double[]> constant = model.constant(plain(value));
    if (constant.isPresent()) {
      return constant.get().length == 1
          ? OptionalDouble.of(constant.get()[0])
          : OptionalDouble.empty();
    }
    // A node Constant may also hold a plain number.
    return maker(value, "Constant")
        .map(OnnxNode::numbers)
        .map(numbers -> numbers.getOrDefault("value_float", numbers.get("value_int")))
        .map(OptionalDouble::of)
        .orElse(OptionalDouble.empty());
  }

  /** Whether a mean is over one dimension, which in models with norms is the last. */
  private boolean isOfRows(OnnxNode mean) {
    if (mean.lists().containsKey("axes")) {
      return mean.lists().get("axes").length() == 1;
    }
    // From operator set 18 on the dimensions are an input.
    String axes = plain(mean.input(1));
    return Optional.ofNullable(model.entries().get(axes))
        .map(TensorEntry::elements)
        .or(
            () ->
                maker(axes, "Constant")
                    .map(node -> node.lists().get("value_ints"))
                    .map(list -> (long) list.length()))
        .map(count -> count == 1)
        .orElse(false);
  }

  private Optional<OnnxNode> maker(String value, String op) {
    return Optional.ofNullable(makers.get(plain(value))).filter(node -> node.op().equals(op));
  }

  /** The value before conversions and renamings. */
  private String plain(String value) {
    String name = value;
    // A graph has no cycles, but a hostile file may.
    for (int steps = 0; steps < 16; steps++) {
      OnnxNode node = makers.get(name);
      if (node == null || !isPassedOver(node)) {
        return name;
      }
      name = node.input(0);
    }
    return name;
  }

  private static boolean isPassedOver(OnnxNode node) {
    return node.op().equals("Cast") || node.op().equals("Identity");
  }

  /** The nodes that read a value, directly or through conversions. */
  private ImmutableList<OnnxNode> readers(String value) {
    ImmutableList.Builder<OnnxNode> all = ImmutableList.builder();
    for (OnnxNode node : readers.get(value)) {
      if (isPassedOver(node)) {
        all.addAll(readers.get(node.output(0)));
      } else {
        all.add(node);
      }
    }
    return all.build();
  }
}
