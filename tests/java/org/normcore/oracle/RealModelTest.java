package org.normcore.oracle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.normcore.DType;
import org.normcore.GammaOffset;
import org.normcore.LayerNorm;
import org.normcore.NativeBuffer;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.TensorView;
import org.normcore.testing.Reference;

/**
 * A real model, all-MiniLM-L6-v2, in ONNX Runtime, with its 13 LayerNorms computed by ONNX Runtime
 * and by Normcore.
 *
 * <p>Derivation of the tolerances. Let u = 2^-24, half a unit in the last place of float32. From x
 * to y an element is rounded four times: the difference from the mean, its product with rstd, that
 * with the weight, the sum with the bias. rstd itself has two more roundings (the quotient and the
 * square root), and the sums of mean and variance about one each, because roundings of opposite
 * sign mostly cancel in sums of partial sums. Each is at most u of the final terms, |weight * xhat|
 * and |bias|, and of the subtracted mean, |weight * rstd| times the mean of |x|. So Normcore must
 * be within 8 u of the sum of these three from the exact value, which is computed in float64. ONNX
 * Runtime sums a row's elements and their squares sequentially and computes the variance as a
 * difference of two means, so its sums have larger errors: its tolerance is 16 u, and the
 * difference of the two is at most 24 u.
 */
@Tag("onnx")
class RealModelTest {
  private static final int HIDDEN = 384;
  private static final double EPSILON = 1e-12;
  private static final double OF_EXACT = 8 * 0x1p-24;
  private static final double OF_EACH_OTHER = 24 * 0x1p-24;
  private static final double SIMILARITY_TOLERANCE = 1e-6;
  private static final String NORM = "/LayerNorm/";

  private static final List<String> SENTENCES =
      List.of(
          "A man is playing a guitar.",
          "Someone plays an instrument on the stage.",
          "The bank raised its interest rates again.",
          "They sat on the bank of the river and fished.",
          "Rounding errors accumulate.",
          "Small mistakes in arithmetic add up over many operations.",
          "No.",
          "How do I train a neural network on the Java virtual machine?",
          "What is the best way to cook rice for 12 people, and how long does it take?",
          "The quick brown fox jumps over the lazy dog.",
          "A fast auburn fox leapt across a sleeping hound.",
          "Layer normalisation subtracts the mean of each row, divides by the standard deviation,"
              + " and then applies a weight and a bias that were learnt in training.");

  private static OrtEnvironment environment;
  private static OnnxGraph graph;
  private static List<Norm> norms;
  private static Map<String, long[]> tokens;
  private static long[] shape;

  /** A LayerNorm of the graph: the names of its input, its output and its parameters. */
  private record Norm(String x, String y, String module) {}

  @BeforeAll
  static void read() throws IOException {
    environment = OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
    try (InputStream model = RealModelTest.class.getResourceAsStream("/all-minilm-l6-v2.onnx")) {
      graph = new OnnxGraph(model.readAllBytes());
    }
    norms = findNorms();
    WordPieces pieces =
        new WordPieces(RealModelTest.class.getResourceAsStream("/all-minilm-l6-v2-tokenizer.json"));
    List<List<Long>> all = SENTENCES.stream().map(pieces::tokens).toList();
    int longest = all.stream().mapToInt(List::size).max().orElseThrow();
    shape = new long[] {SENTENCES.size(), longest};
    tokens = new LinkedHashMap<>();
    for (String name : List.of("input_ids", "attention_mask", "token_type_ids")) {
      tokens.put(name, new long[SENTENCES.size() * longest]);
    }
    for (int i = 0; i < all.size(); i++) {
      for (int j = 0; j < all.get(i).size(); j++) {
        tokens.get("input_ids")[i * longest + j] = all.get(i).get(j);
        tokens.get("attention_mask")[i * longest + j] = 1;
      }
    }
  }

  /** In PyTorch's export they begin with a ReduceMean and end with their second Add. */
  private static List<Norm> findNorms() {
    Map<String, String> inputs = new LinkedHashMap<>();
    Map<String, String> outputs = new HashMap<>();
    for (OnnxGraph.Node node : graph.nodes()) {
      int at = node.name().indexOf(NORM);
      if (at >= 0) {
        String module = node.name().substring(1, at + NORM.length() - 1).replace('/', '.');
        String part = node.name().substring(at + NORM.length());
        if (part.equals("ReduceMean")) {
          inputs.put(module, node.inputs().get(0));
        } else if (part.equals("Add_1")) {
          outputs.put(module, node.outputs().get(0));
        }
      }
    }
    List<Norm> all = new ArrayList<>();
    inputs.forEach((module, x) -> all.add(new Norm(x, outputs.get(module), module)));
    return all;
  }

  @Test
  void eachNormAgreesToRounding() throws IOException, OrtException {
    assertEquals(13, norms.size());
    List<String> names = new ArrayList<>();
    norms.forEach(norm -> names.addAll(List.of(norm.x(), norm.y())));
    List<String> more = new ArrayList<>(names);
    assertTrue(more.remove("last_hidden_state"), "the last norm makes the model's output");
    Map<String, float[]> values =
        run(graph.withOutputs(more), List.copyOf(tokens.keySet()), Map.of(), names, true);
    for (Norm norm : norms) {
      float[] x = values.get(norm.x());
      float[] theirs = values.get(norm.y());
      NormErrors errors = new NormErrors(norm, x);
      float[] ours = ours(norm, x, EPSILON);
      errors.assertWithin(OF_EXACT, errors.exact, ours);
      errors.assertWithin(OF_EACH_OTHER, NormErrors.doubles(theirs), ours);
      // An epsilon of 1e-5, the value of most models, would fail.
      double wrong = errors.distance(NormErrors.doubles(theirs), ours(norm, x, 1e-5));
      assertTrue(wrong > OF_EACH_OTHER, norm.module() + " with another epsilon: " + wrong);
    }
  }

  @Test
  void sentenceSimilaritiesMatch() throws IOException, OrtException {
    Map<String, float[]> original =
        run(
            graph.whole(),
            List.copyOf(tokens.keySet()),
            Map.of(),
            List.of("last_hidden_state"),
            true);
    double[][] theirs = embeddings(original.get("last_hidden_state"));
    double[][] ours = embeddings(withOurNorms());
    double largest = 0;
    for (int i = 0; i < theirs.length; i++) {
      assertEquals(1, dot(theirs[i], ours[i]), SIMILARITY_TOLERANCE, SENTENCES.get(i));
      for (int j = 0; j < i; j++) {
        double similarity = dot(theirs[i], theirs[j]);
        largest = Math.max(largest, similarity);
        assertEquals(
            similarity,
            dot(ours[i], ours[j]),
            SIMILARITY_TOLERANCE,
            SENTENCES.get(i) + " " + SENTENCES.get(j));
      }
    }
    // Checks the model: the two fox sentences are similar, a refusal and rice are not.
    assertTrue(dot(theirs[9], theirs[10]) > 0.5, "foxes");
    assertTrue(dot(theirs[6], theirs[8]) < 0.1, "rice");
    assertTrue(largest < 0.999, "different sentences");
  }

  /** The model's output with each norm computed by Normcore and passed to the rest of the graph. */
  private static float[] withOurNorms() throws IOException, OrtException {
    Map<String, float[]> made = new HashMap<>();
    Set<String> given = new HashSet<>();
    for (Norm norm : norms) {
      OnnxGraph.Piece piece = graph.piece(norm.x(), given);
      float[] x =
          run(piece.model(), piece.inputs(), made, List.of(piece.output()), false).get(norm.x());
      made.put(norm.y(), ours(norm, x, EPSILON));
      given.add(norm.y());
    }
    return made.get("last_hidden_state");
  }

  private static float[] ours(Norm norm, float[] x, double epsilon) throws IOException {
    long rows = x.length / HIDDEN;
    try (LayerNorm op =
            LayerNorm.builder(HIDDEN)
                .epsilon(epsilon)
                .input(DType.FLOAT32)
                .policy(NormPolicy.PYTORCH)
                .build();
        NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 2 * rows + 2, HIDDEN)) {
      TensorView all = memory.view(DType.FLOAT32, 2 * rows + 2, HIDDEN);
      TensorView in = all.rows(0, rows).copyFrom(x);
      TensorView out = all.rows(rows, 2 * rows);
      TensorView weight =
          all.rows(2 * rows, 2 * rows + 1).reshape(HIDDEN).copyFrom(parameter(norm, ".weight"));
      TensorView bias =
          all.rows(2 * rows + 1, 2 * rows + 2).reshape(HIDDEN).copyFrom(parameter(norm, ".bias"));
      op.infer(in, weight, bias, out);
      return out.toFloats();
    }
  }

  private static float[] parameter(Norm norm, String which) throws IOException {
    float[] values = new float[HIDDEN];
    ByteBuffer.wrap(graph.initialiser(norm.module() + which))
        .order(ByteOrder.LITTLE_ENDIAN)
        .asFloatBuffer()
        .get(values);
    return values;
  }

  /**
   * Runs a model.
   *
   * @param inputs its inputs, from the tokens and from earlier values
   * @param optimised whether to enable ONNX Runtime's default optimisations
   */
  private static Map<String, float[]> run(
      byte[] model,
      List<String> inputs,
      Map<String, float[]> made,
      List<String> outputs,
      boolean optimised)
      throws OrtException {
    Map<String, OnnxTensor> feeds = new HashMap<>();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.setIntraOpNumThreads(1);
      options.setInterOpNumThreads(1);
      if (!optimised) {
        options.setOptimizationLevel(OrtSession.SessionOptions.OptLevel.NO_OPT);
      }
      for (String name : inputs) {
        feeds.put(
            name,
            tokens.containsKey(name)
                ? OnnxTensor.createTensor(environment, LongBuffer.wrap(tokens.get(name)), shape)
                : OnnxTensor.createTensor(
                    environment,
                    FloatBuffer.wrap(made.get(name)),
                    new long[] {shape[0], shape[1], HIDDEN}));
      }
      Map<String, float[]> values = new HashMap<>();
      try (OrtSession session = environment.createSession(model, options);
          OrtSession.Result result = session.run(feeds, Set.copyOf(outputs))) {
        for (String name : outputs) {
          FloatBuffer buffer = ((OnnxTensor) result.get(name).orElseThrow()).getFloatBuffer();
          float[] value = new float[buffer.remaining()];
          buffer.get(value);
          values.put(name, value);
        }
      }
      return values;
    } finally {
      feeds.values().forEach(OnnxTensor::close);
    }
  }

  /** The means of the tokens' states, normalised to length 1: the model's embeddings. */
  private static double[][] embeddings(float[] states) {
    double[][] all = new double[SENTENCES.size()][HIDDEN];
    for (int i = 0; i < all.length; i++) {
      for (int j = 0; j < shape[1]; j++) {
        int token = (int) (i * shape[1] + j);
        for (int k = 0; k < HIDDEN && tokens.get("attention_mask")[token] == 1; k++) {
          all[i][k] += states[token * HIDDEN + k];
        }
      }
      double length = Math.sqrt(dot(all[i], all[i]));
      for (int k = 0; k < HIDDEN; k++) {
        all[i][k] /= length;
      }
    }
    return all;
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  /** Compares a norm's outputs with the exact ones. */
  private static final class NormErrors {
    private final Norm norm;
    private final double[] exact;
    private final double[] terms;

    NormErrors(Norm norm, float[] x) throws IOException {
      this.norm = norm;
      double[] weight = doubles(parameter(norm, ".weight"));
      double[] bias = doubles(parameter(norm, ".bias"));
      Reference.Forward forward =
          Reference.forward(
              NormKind.LAYER_NORM, HIDDEN, EPSILON, GammaOffset.NONE, doubles(x), weight, bias);
      this.exact = forward.y();
      this.terms = new double[exact.length];
      for (int row = 0; row < exact.length / HIDDEN; row++) {
        double magnitude = 0;
        for (int i = 0; i < HIDDEN; i++) {
          magnitude += Math.abs(x[row * HIDDEN + i]) / HIDDEN;
        }
        for (int i = 0; i < HIDDEN; i++) {
          int at = row * HIDDEN + i;
          terms[at] =
              Math.abs(weight[i] * forward.xhat()[at])
                  + Math.abs(bias[i])
                  + Math.abs(weight[i]) * forward.rstd()[row] * magnitude;
        }
      }
    }

    private static double[] doubles(float[] values) {
      double[] all = new double[values.length];
      for (int i = 0; i < all.length; i++) {
        all[i] = values[i];
      }
      return all;
    }

    /** The largest difference relative to the sum of the terms. */
    double distance(double[] a, float[] b) {
      assertEquals(terms.length, a.length);
      assertEquals(terms.length, b.length);
      double largest = 0;
      for (int i = 0; i < terms.length; i++) {
        largest = Math.max(largest, Math.abs(a[i] - b[i]) / terms[i]);
      }
      return largest;
    }

    void assertWithin(double tolerance, double[] a, float[] b) {
      double distance = distance(a, b);
      assertTrue(
          distance <= tolerance, norm.module() + ": " + distance / 0x1p-24 + " u of the terms");
    }
  }
}
