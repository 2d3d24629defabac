package org.normcore.frameworks;

import java.util.Arrays;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorBase;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.Layout;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.bytedeco.pytorch.global.torch_cuda;
import org.jspecify.annotations.Nullable;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.Operands;
import org.normcore.TensorView;

/**
 * PyTorch through JavaCPP, {@code org.bytedeco:pytorch}: zero-copy views of its tensors, and norms
 * as functions with autograd support.
 *
 * <pre>{@code
 * RmsNorm norm = RmsNorm.builder(4096).epsilon(1e-5).input(DType.BFLOAT16)
 *     .policy(NormPolicy.HUGGING_FACE_LLAMA).build();
 *
 * Tensor y = PyTorch.apply(norm, x, weight);
 * y.sum().backward(); // x.grad(), weight.grad()
 * }</pre>
 *
 * <p>If the last dimension of a tensor is not contiguous or its leading dimensions do not have one
 * stride, PyTorch makes it contiguous first, as for its own norms. Nothing else is copied.
 */
public final class PyTorch {
  private PyTorch() {}

  /**
   * Returns a tensor's memory as a view, on the CPU or on a CUDA device, with the tensor's shape,
   * dtype and row stride. The view holds its own reference to the tensor, so the memory stays
   * allocated even if the given object is closed. Autograd does not record operations on the view.
   *
   * @throws IllegalArgumentException if the tensor is null or undefined; if {@link DType} lacks its
   *     dtype; if it is sparse, on another kind of device, or its negative bit is set; if its last
   *     dimension is not contiguous, or its leading dimensions do not fold into one row stride
   */
  public static TensorView view(Tensor tensor) {
    requireTensor("tensor", tensor);
    String reason = notDense(tensor);
    if (reason != null) {
      throw new IllegalArgumentException("tensor: " + describe(tensor) + " " + reason);
    }
    // The memory without the graph, as a reference outside the caller's open scope: the garbage
    // collector frees it with the view.
    Tensor own = tensor.detach().retainReference();
    return viewOf("tensor", own).withOwner(own);
  }

  /**
   * Normalises {@code x} with a norm that has a weight only, or none ({@code weight} is null): as
   * {@link #apply(Norm, Tensor, Tensor, Tensor)} without a bias.
   */
  public static Tensor apply(Norm norm, Tensor x, @Nullable Tensor weight) {
    return apply(norm, x, weight, null);
  }

  /**
   * Normalises {@code x} and returns {@code y}, a new tensor of its shape in the norm's {@linkplain
   * Norm#outputDType() output dtype}. If {@code GradMode} is on and one of the tensors requires a
   * gradient, {@code y} is part of autograd's graph: {@code backward}, {@code torch.grad}, hooks,
   * accumulation into {@code .grad} and {@code retain_graph} work as with PyTorch's own norms. The
   * norm's policy determines the rounding of the gradients; the gradients of {@code x}, weight and
   * bias are computed only where required. First order only: a backward with {@code create_graph}
   * throws.
   *
   * <p><b>Memory.</b> PyTorch allocates {@code y} and the gradients; each is written once. The
   * graph keeps {@code x} and the weight, and 4 bytes per row, 8 for LayerNorm, until a backward
   * without {@code retain_graph} or until the graph is freed. Until then {@code x} and the weight
   * must not be changed in place; the backward checks their version counters. The norm must stay
   * open. Recording takes about 200 us and a backward another 200 us, independent of the size of
   * the tensors: the time of calls into the binding, half of which goes into checks of the process
   * size ({@code -Dorg.bytedeco.javacpp.maxPhysicalBytes=0} turns these off). A call without
   * gradients takes 15 us.
   *
   * <p><b>Threads.</b> Forward calls may run concurrently in any number of threads. A backward runs
   * in PyTorch's threads; concurrent backwards through one {@code y} are serialised.
   *
   * <p><b>CUDA.</b> The norm must be built for the tensors' device; the work runs in PyTorch's
   * current stream of that device. Not yet tested on a GPU.
   *
   * @param norm open, its output not FP8
   * @param x in the norm's input dtype, {@code [.., normalizedShape]}, on its device
   * @param weight {@code [normalizedShape]} in the norm's weight dtype; null if it has none
   * @param bias the same
   * @throws IllegalArgumentException if a tensor is missing, has a wrong dtype, shape or device, or
   *     is given for a parameter that the norm lacks; the message names it
   * @throws UnsupportedOperationException if the norm's output is FP8
   * @throws IllegalStateException if the norm is closed
   */
  @SuppressWarnings("try")
  public static Tensor apply(Norm norm, Tensor x, @Nullable Tensor weight, @Nullable Tensor bias) {
    if (norm == null) {
      throw new IllegalArgumentException("norm: null; expected an RmsNorm or a LayerNorm");
    }
    if (norm.outputScaling() != null) {
      throw new UnsupportedOperationException(
          "norm: its output is "
              + norm.outputDType()
              + "; expected a dtype that autograd supports");
    }
    requireTensor("x", x);
    requireTensor("weight", weight, norm.affine().hasWeight());
    requireTensor("bias", bias, norm.affine().hasBias());
    // Made outside the inner scope, so that the caller owns it.
    Tensor y = new Tensor();
    boolean done = false;
    try (PointerScope scope = new PointerScope()) {
      fill(y, norm, x, viewableParameter(weight), viewableParameter(bias));
      done = true;
    } finally {
      if (!done) {
        y.close();
      }
    }
    return y;
  }

  private static void fill(
      Tensor y, Norm norm, Tensor x, @Nullable Tensor weight, @Nullable Tensor bias) {
    Tensor source = viewable(x);
    TensorView xView = viewOf("x", source);
    TensorView weightView = weight == null ? null : viewOf("weight", weight);
    TensorView biasView = bias == null ? null : viewOf("bias", bias);
    y.put(empty(shape(x), norm.outputDType(), x));
    Operands operands =
        Operands.of(xView, viewOf("y", y)).weight(weightView).bias(biasView).stream(
            stream(norm.device()));
    boolean isRecorded =
        GradMode.is_enabled()
            && (x.requires_grad()
                || weight != null && weight.requires_grad()
                || bias != null && bias.requires_grad());
    if (!isRecorded) {
      norm.infer(operands);
      return;
    }
    Statistics statistics = Statistics.of(norm, xView, x);
    norm.forward(operands, statistics.meanView(), statistics.rstdView());
    if (y.numel() == 0) {
      // For empty tensors nothing is computed, and PyTorch's own graph gives the zeros of dweight.
      y.put(emptyGraph(norm, x, weight, bias));
    } else {
      PyTorchNode.record(norm, y, x, source, weight, bias, statistics);
    }
  }

  private static Tensor emptyGraph(
      Norm norm, Tensor x, @Nullable Tensor weight, @Nullable Tensor bias) {
    Tensor y = weight == null ? x : x.mul(weight);
    return (bias == null ? y : y.add(bias)).to(scalarType(norm.outputDType()));
  }

  /** The saved statistics of each row, as tensors, so that PyTorch's allocator owns the memory. */
  record Statistics(@Nullable Tensor mean, Tensor rstd) {
    static Statistics of(Norm norm, TensorView x, Tensor like) {
      long[] rows = {x.rows(norm.normalizedShape().length)};
      DType dtype = norm.statisticsDType();
      boolean hasMean = norm.kind() == NormKind.LAYER_NORM;
      return new Statistics(hasMean ? empty(rows, dtype, like) : null, empty(rows, dtype, like));
    }

    @Nullable TensorView meanView() {
      return mean == null ? null : viewOf("mean", mean);
    }

    TensorView rstdView() {
      return viewOf("rstd", rstd);
    }
  }

  /** Returns the tensor itself if it can be viewed, otherwise a contiguous copy. */
  static Tensor viewable(Tensor tensor) {
    return isViewable(tensor) ? tensor : tensor.detach().contiguous();
  }

  /** As {@link #viewable}; the graph records the copy, so that the parameter gets its gradient. */
  private static @Nullable Tensor viewableParameter(@Nullable Tensor parameter) {
    return parameter == null || isViewable(parameter) ? parameter : parameter.contiguous();
  }

  private static boolean isViewable(Tensor tensor) {
    return notDense(tensor) == null && TensorView.foldsIntoRows(shape(tensor), strides(tensor));
  }

  /** Returns a view that holds no reference to the tensor. */
  static TensorView viewOf(String argument, Tensor tensor) {
    DType dtype = dtype(tensor);
    if (dtype == null) {
      throw new IllegalArgumentException(
          argument
              + ": dtype "
              + tensor.scalar_type().intern()
              + "; expected one of "
              + Arrays.toString(DType.values()));
    }
    Device device = device(argument, tensor);
    Pointer data = tensor.data_ptr();
    long address = data == null ? 0 : data.address();
    try {
      return TensorView.ofStrided(address, dtype, device, shape(tensor), strides(tensor));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          argument + "." + e.getMessage() + "; call contiguous()", e);
    }
  }

  /** Returns why a tensor has no memory of plain values, or null if it has. */
  private static @Nullable String notDense(Tensor tensor) {
    if (tensor.layout().intern() != Layout.Strided || !tensor.has_storage()) {
      return "is of layout " + tensor.layout().intern() + "; expected a dense tensor";
    }
    if (tensor.is_neg()) {
      return "has the negative bit set; expected plain values; call resolve_neg()";
    }
    return null;
  }

  private static @Nullable DType dtype(TensorBase tensor) {
    return switch (tensor.scalar_type().intern()) {
      case Double -> DType.FLOAT64;
      case Float -> DType.FLOAT32;
      case BFloat16 -> DType.BFLOAT16;
      case Half -> DType.FLOAT16;
      case Float8_e4m3fn -> DType.FLOAT8_E4M3;
      case Float8_e5m2 -> DType.FLOAT8_E5M2;
      case Float8_e8m0fnu -> DType.FLOAT8_E8M0;
      default -> null;
    };
  }

  private static ScalarType scalarType(DType dtype) {
    return switch (dtype) {
      case FLOAT64 -> ScalarType.Double;
      case FLOAT32 -> ScalarType.Float;
      case BFLOAT16 -> ScalarType.BFloat16;
      case FLOAT16 -> ScalarType.Half;
      case FLOAT8_E4M3 -> ScalarType.Float8_e4m3fn;
      case FLOAT8_E5M2 -> ScalarType.Float8_e5m2;
      case FLOAT8_E8M0 -> ScalarType.Float8_e8m0fnu;
    };
  }

  private static Device device(String argument, Tensor tensor) {
    if (tensor.is_cpu()) {
      return Device.CPU;
    }
    try (org.bytedeco.pytorch.Device device = tensor.device()) {
      if (tensor.is_cuda()) {
        return Device.cuda(device.index());
      }
      throw new IllegalArgumentException(
          argument + ": is on " + device.str().getString() + "; expected it on cpu or cuda");
    }
  }

  static long[] shape(TensorBase tensor) {
    long[] shape = new long[(int) tensor.dim()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = tensor.size(i);
    }
    return shape;
  }

  private static long[] strides(TensorBase tensor) {
    long[] strides = new long[(int) tensor.dim()];
    for (int i = 0; i < strides.length; i++) {
      strides[i] = tensor.stride(i);
    }
    return strides;
  }

  /** Returns uninitialised memory on the device of another tensor. */
  static Tensor empty(long[] shape, DType dtype, TensorBase like) {
    TensorOptions options = like.options().dtype(new ScalarTypeOptional(scalarType(dtype)));
    return torch.empty(shape, options, new MemoryFormatOptional());
  }

  /** PyTorch's current stream, null on the CPU. */
  static @Nullable CudaStream stream(Device device) {
    return device.isCpu() ? null : Current.stream(device);
  }

  /** The code that needs the CUDA presets, which accompany PyTorch's CUDA natives. */
  private static final class Current {
    static CudaStream stream(Device device) {
      return CudaStream.of(device, torch_cuda.getCurrentCUDAStream((byte) device.index()).stream());
    }
  }

  private static void requireTensor(String argument, @Nullable Tensor tensor, boolean expected) {
    if (expected || tensor != null) {
      requireTensor(argument, tensor);
    }
  }

  private static void requireTensor(String argument, @Nullable Tensor tensor) {
    if (tensor == null || tensor.isNull() || !tensor.defined()) {
      throw new IllegalArgumentException(
          argument
              + ": "
              + (tensor == null ? "null" : tensor.isNull() ? "freed" : "undefined")
              + "; expected a tensor");
    }
  }

  private static String describe(Tensor tensor) {
    return tensor.scalar_type().intern() + Arrays.toString(shape(tensor));
  }
}
