package org.normcore.oracle;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * PyTorch through its JavaCPP build, and the reference forward passes. Autograd computes their
 * backward passes.
 */
final class Torch {
  static {
    torch.set_num_threads(1);
  }

  private Torch() {}

  /**
   * A forward pass from input, weight and bias (null for none) to output. Sequences that begin with
   * a conversion of {@code x} to float32 get the converted {@code hidden}.
   */
  interface Sequence {
    Tensor apply(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon);
  }

  /** Runs the body and frees the tensors that it makes. */
  @SuppressWarnings("try")
  static void scoped(Runnable body) {
    try (PointerScope scope = new PointerScope()) {
      body.run();
    }
  }

  /** Returns a copy that autograd computes a gradient for. */
  static Tensor leaf(TensorView view) {
    Tensor tensor = copy(view);
    return tensor.set_requires_grad(true);
  }

  static Tensor copy(TensorView view) {
    Tensor tensor = torch.empty(view.shape(), new TensorOptions(type(view.dtype())), null);
    view(tensor, view.dtype(), view.shape()).copyFrom(view);
    return tensor;
  }

  /** Returns a view of a tensor's memory, after checking its dtype. */
  static TensorView view(Tensor tensor, DType dtype, long... shape) {
    if (!is(tensor, dtype)) {
      throw new AssertionError("expected " + dtype + ", got " + tensor.scalar_type());
    }
    Tensor contiguous = tensor.contiguous();
    return TensorView.of(contiguous.data_ptr(), dtype, shape).withOwner(contiguous);
  }

  static boolean is(Tensor tensor, DType dtype) {
    return tensor.scalar_type().intern() == type(dtype);
  }

  static void backward(Tensor y, Tensor dy) {
    y.backward(dy, new BoolOptional(), false, new TensorArrayRefOptional());
  }

  static ScalarType type(DType dtype) {
    return switch (dtype) {
      case FLOAT64 -> ScalarType.Double;
      case FLOAT32 -> ScalarType.Float;
      case BFLOAT16 -> ScalarType.BFloat16;
      case FLOAT16 -> ScalarType.Half;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }

  /** LlamaRMSNorm of Hugging Face transformers; Mistral, Qwen and DeepSeek have the same lines. */
  static Tensor llama(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    return weight.mul(rmsNormalised(hidden, epsilon).to(x.scalar_type()));
  }

  /**
   * T5LayerNorm. The original multiplies the 16-bit tensor itself and converts it for the variance
   * only, so autograd rounds the two parts of dx separately; here it is converted once.
   */
  static Tensor t5(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    return weight.mul(rmsNormalised(hidden, epsilon).to(weight.scalar_type()));
  }

  /** T5LayerNorm, verbatim. */
  static Tensor t5Literal(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    Tensor variance = meanOfLast(x.to(ScalarType.Float).pow(new Scalar(2)));
    Tensor normalised = x.mul(torch.rsqrt(variance.add(new Scalar(epsilon))));
    return weight.mul(normalised.to(weight.scalar_type()));
  }

  /** GemmaRMSNorm. */
  static Tensor gemma(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    Tensor gamma = weight.to(ScalarType.Float).add(new Scalar(1.0));
    return rmsNormalised(hidden, epsilon).mul(gamma).type_as(x);
  }

  /** torch.rms_norm. */
  static Tensor rmsNorm(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    return torch.rms_norm(
        x, new long[] {x.size(-1)}, optional(weight), new DoubleOptional(epsilon));
  }

  /** torch.layer_norm. */
  static Tensor layerNorm(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    return torch.layer_norm(
        x, new long[] {x.size(-1)}, optional(weight), optional(bias), epsilon, false);
  }

  /** NemotronLayerNorm1P: layer_norm with one added to the weight in its own type. */
  static Tensor layerNorm1p(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    return layerNorm(x, hidden, weight.add(new Scalar(1)), bias, epsilon);
  }

  /** DebertaLayerNorm. */
  static Tensor deberta(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    Tensor centred = hidden.sub(meanOfLast(hidden));
    Tensor variance = meanOfLast(centred.pow(new Scalar(2)));
    Tensor n = centred.div(variance.add(new Scalar(epsilon)).sqrt()).to(x.scalar_type());
    return weight.mul(n).add(bias);
  }

  /** The function body of ONNX LayerNormalization: a reciprocal, and a product with it. */
  static Tensor onnx(Tensor x, Tensor hidden, Tensor weight, Tensor bias, double epsilon) {
    Tensor centred = hidden.sub(meanOfLast(hidden));
    Tensor variance = meanOfLast(centred.mul(centred));
    Tensor inverse = variance.add(new Scalar(epsilon)).sqrt().reciprocal();
    Tensor n = centred.mul(inverse).to(x.scalar_type());
    return n.mul(weight).add(bias);
  }

  private static Tensor rmsNormalised(Tensor hidden, double epsilon) {
    Tensor variance = meanOfLast(hidden.pow(new Scalar(2)));
    return hidden.mul(torch.rsqrt(variance.add(new Scalar(epsilon))));
  }

  private static Tensor meanOfLast(Tensor x) {
    return x.mean(new long[] {-1}, true, new ScalarTypeOptional());
  }

  private static TensorOptional optional(Tensor tensor) {
    return tensor == null ? new TensorOptional() : new TensorOptional(tensor);
  }
}
