package org.normcore.frameworks;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Adam;
import org.bytedeco.pytorch.AdamOptions;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.normcore.NormKind;

/**
 * A transformer of two blocks that predicts the next character of a text, with exchangeable norms
 * before each attention, each MLP and the head.
 *
 * <p>Parameters and Adam are float32. With {@code type} BFloat16 all products are in bfloat16,
 * including the norms' inputs and weights, and the loss is float32: mixed precision, as usual for
 * such models. Everything except the norms is bit-identical from run to run.
 */
final class CharModel implements AutoCloseable {
  static final int HIDDEN = 64;
  private static final int LAYERS = 2;
  private static final int HEADS = 4;
  private static final int SEQUENCE = 64;
  private static final int BATCH = 8;
  private static final double LEARNING_RATE = 3e-3;

  /** A norm over the last dimension. */
  @FunctionalInterface
  interface NormFunction {
    Tensor apply(NormKind kind, Tensor x, Tensor weight, @Nullable Tensor bias);
  }

  private static final String TEXT =
      """
      A norm takes a row of numbers, finds out how large they are, and divides by that. It sounds
      like nothing, and without it no deep network learns. The square of each number is taken, the
      squares are summed, the mean is made of the sum, a little is added so that nothing is divided
      by zero, and the root of it all is what each number is divided by. Then each is multiplied by
      a weight that has been learned, one for each place in the row.
      Where is such a number rounded? In the paper nowhere, for paper holds every digit. In a
      machine each result has a place to be put, and the place is sixteen or thirty-two bits wide.
      One library multiplies by the weight first, and rounds once, at the end. Another one rounds
      what has been divided, then multiplies, then rounds again. Both are right, and both are in
      use. They differ in one number of four, by the last bit, and a network of eighty layers has a
      hundred and sixty norms, so that the last bit of the first is not the last bit of anything
      when the last of them is done.
      Does it matter? Somebody who trains from nothing will not see it. Somebody who goes on with
      what another has trained may well: the weights have learned to live with one rounding, and
      get the other. So write down where you round, and let it be chosen.
      In which order is a sum formed? From left to right is one answer; by halves is another. The
      sum of a million numbers has as many results as it has orders, and a machine with many hands
      takes the order that its hands happen to have. Give it an order, and the result is one and
      the same today and tomorrow, on this machine and on that one.
      """;

  private final List<Tensor> parameters = new ArrayList<>();
  private final ScalarType type;
  private final NormKind mlpNorm;
  private final byte[] text;
  private final int[] codes = new int[128];
  private final Random batches;
  private final Adam adam;

  CharModel(ScalarType type, NormKind mlpNorm, long seed) {
    this.type = type;
    this.mlpNorm = mlpNorm;
    this.text = TEXT.getBytes(StandardCharsets.US_ASCII);
    Arrays.fill(codes, -1);
    int letters = 0;
    for (byte letter : text) {
      if (codes[letter] < 0) {
        codes[letter] = letters++;
      }
    }
    this.batches = new Random(seed);
    torch.manual_seed(seed);
    matrix(letters, HIDDEN, 0.1);
    matrix(SEQUENCE, HIDDEN, 0.1);
    for (int layer = 0; layer < LAYERS; layer++) {
      vector(1);
      matrix(3 * HIDDEN, HIDDEN, 1 / Math.sqrt(HIDDEN));
      matrix(HIDDEN, HIDDEN, 0.5 / Math.sqrt(HIDDEN));
      vector(1);
      vector(0);
      matrix(4 * HIDDEN, HIDDEN, 1 / Math.sqrt(HIDDEN));
      matrix(HIDDEN, 4 * HIDDEN, 0.5 / Math.sqrt(4 * HIDDEN));
    }
    vector(1);
    matrix(letters, HIDDEN, 0.5 / Math.sqrt(HIDDEN));
    this.adam =
        new Adam(
            new TensorVector(parameters.toArray(new Tensor[0])), new AdamOptions(LEARNING_RATE));
  }

  private void matrix(long rows, long columns, double deviation) {
    parameters.add(torch.randn(rows, columns).mul(new Scalar(deviation)).set_requires_grad(true));
  }

  private void vector(double value) {
    parameters.add(
        torch
            .full(new long[] {HIDDEN}, new Scalar(value))
            .to(ScalarType.Float)
            .set_requires_grad(true));
  }

  /** Changes the first number of the embedding to the next one of the model's type. */
  @SuppressWarnings("try")
  void nudge() {
    try (PointerScope scope = new PointerScope()) {
      Tensor first = parameters.get(0).detach().get(0).get(0);
      int bits = Float.floatToRawIntBits(first.item_float());
      int next = type == ScalarType.Float ? bits + 1 : (bits & 0xffff0000) + 0x10000;
      first.fill_(new Scalar(Float.intBitsToFloat(next)));
    }
  }

  /** Trains on the next batch and returns the loss before the step. */
  @SuppressWarnings("try")
  double step(NormFunction norm) {
    try (PointerScope scope = new PointerScope()) {
      long[] inputs = new long[BATCH * SEQUENCE];
      long[] targets = new long[BATCH * SEQUENCE];
      for (int i = 0; i < BATCH; i++) {
        int start = batches.nextInt(text.length - SEQUENCE);
        for (int j = 0; j < SEQUENCE; j++) {
          inputs[i * SEQUENCE + j] = codes[text[start + j]];
          targets[i * SEQUENCE + j] = codes[text[start + j + 1]];
        }
      }
      adam.zero_grad();
      Tensor loss = loss(norm, Tensor.create(inputs).view(BATCH, SEQUENCE), Tensor.create(targets));
      loss.backward();
      adam.step();
      return loss.item_double();
    }
  }

  private Tensor loss(NormFunction norm, Tensor inputs, Tensor targets) {
    List<Tensor> p = new ArrayList<>();
    for (Tensor parameter : parameters) {
      p.add(type == ScalarType.Float ? parameter : parameter.to(type));
    }
    int next = 0;
    Tensor x = torch.embedding(p.get(next++), inputs).add(p.get(next++));
    for (int layer = 0; layer < LAYERS; layer++) {
      Tensor normed = norm.apply(NormKind.RMS_NORM, x, p.get(next++), null);
      Tensor qkv =
          torch
              .linear(normed, p.get(next++))
              .view(BATCH, SEQUENCE, 3, HEADS, HIDDEN / HEADS)
              .permute(2, 0, 3, 1, 4);
      Tensor mixed =
          torch.scaled_dot_product_attention(
              qkv.get(0),
              qkv.get(1),
              qkv.get(2),
              new TensorOptional(),
              0,
              true,
              new DoubleOptional(),
              false);
      Tensor together = mixed.transpose(1, 2).reshape(BATCH, SEQUENCE, HIDDEN);
      x = x.add(torch.linear(together, p.get(next++)));
      Tensor weight = p.get(next++);
      Tensor bias = p.get(next++);
      normed = norm.apply(mlpNorm, x, weight, mlpNorm == NormKind.LAYER_NORM ? bias : null);
      Tensor wide = torch.gelu(torch.linear(normed, p.get(next++)));
      x = x.add(torch.linear(wide, p.get(next++)));
    }
    x = norm.apply(NormKind.RMS_NORM, x, p.get(next++), null);
    Tensor logits = torch.linear(x, p.get(next++)).to(ScalarType.Float);
    return torch.cross_entropy_loss(logits.view(BATCH * SEQUENCE, -1), targets);
  }

  @Override
  public void close() {
    adam.close();
    parameters.forEach(Tensor::close);
  }
}
