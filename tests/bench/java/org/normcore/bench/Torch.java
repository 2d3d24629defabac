package org.normcore.bench;

import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.LongArrayRef;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * PyTorch through its JavaCPP build. LayerNorm uses the native functions below autograd; RMSNorm
 * uses {@code rms_norm}, on the CPU a sequence of operations, with the backward by autograd.
 *
 * <p>Its functions allocate their results (those with an {@code out} argument also allocate and
 * then copy): in memory that the allocator reuses, which is the best setting, or by default with
 * page faults.
 */
record Torch(boolean warm) implements Library {
  @Override
  public String name() {
    return warm ? "PyTorch" : "PyTorch, fresh results";
  }

  @Override
  public String version() {
    return version(torch.class) + (warm ? ", freed memory kept by malloc" : ", malloc as it comes");
  }

  @Override
  public String remark() {
    return "its LayerNorm sums dweight and dbias of 16-bit tensors in 16 bits: they are compared with"
        + " ours only as closely as that allows";
  }

  private static String version(Class<?> binding) {
    return String.valueOf(binding.getPackage().getImplementationVersion());
  }

  @Override
  public Contender prepare(Workload workload, Tensors tensors) throws Absent {
    boolean isPlain =
        workload.direction() == Direction.FORWARD || workload.direction() == Direction.BACKWARD;
    if (!warm && !isPlain) {
      throw new Absent("what page faults cost is shown forward and backward");
    }
    Call call =
        workload.isLayerNorm() ? new LayerNormCall(workload, tensors) : rms(workload, tensors);
    return new Prepared(call, warm, workload);
  }

  private static Call rms(Workload workload, Tensors tensors) {
    return workload.direction() == Direction.BACKWARD
        ? new RmsNormBackward(workload, tensors)
        : new RmsNormCall(workload, tensors);
  }

  private static Tensor tensor(TensorView view) {
    return torch.from_blob(Address.of(view), view.shape(), new TensorOptions(type(view.dtype())));
  }

  private static ScalarType type(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> ScalarType.Float;
      case BFLOAT16 -> ScalarType.BFloat16;
      case FLOAT16 -> ScalarType.Half;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }

  private static void copy(TensorView to, Tensor from) {
    if (from.scalar_type().intern() != type(to.dtype())) {
      throw new IllegalStateException(
          "PyTorch gave " + from.scalar_type() + " where " + to + " was expected");
    }
    try (Tensor target = tensor(to)) {
      target.copy_(from).close();
    }
  }

  /** One function of PyTorch with its arguments. */
  private abstract static class Call {
    final Direction direction;
    final Tensors tensors;
    final Tensor x;
    final Tensor residual;
    final Tensor sum;
    final Tensor weight;
    final LongPointer shapeStorage;
    final LongArrayRef shape;

    Call(Workload workload, Tensors tensors) {
      this.direction = workload.direction();
      this.tensors = tensors;
      this.x = tensor(tensors.x());
      this.residual = tensor(tensors.residual());
      this.sum = tensor(tensors.sum());
      this.weight = tensor(tensors.weight());
      this.shapeStorage = new LongPointer(1).put(workload.shape().hiddenSize());
      this.shape = new LongArrayRef(shapeStorage, 1);
    }

    boolean isResidual() {
      return direction == Direction.RESIDUAL;
    }

    /** Whether it must run with autograd. */
    boolean needsAutograd() {
      return false;
    }

    abstract void run(boolean keep);

    void close() {
      x.close();
      residual.close();
      sum.close();
      weight.close();
    }
  }

  private static final class LayerNormCall extends Call {
    private final Tensor dy;
    private final TensorOptional gamma;
    private final TensorOptional beta;
    private final BoolPointer all = new BoolPointer(3).put(0, true).put(1, true).put(2, true);
    private final T_TensorTensorTensor_T statistics;
    private final Tensor mean;
    private final Tensor rstd;

    LayerNormCall(Workload workload, Tensors tensors) {
      super(workload, tensors);
      this.dy = tensor(tensors.dy());
      this.gamma = new TensorOptional(weight);
      this.beta = new TensorOptional(tensor(tensors.bias()));
      this.statistics = torch.native_layer_norm(x, shape, gamma, beta, Tensors.EPSILON);
      this.mean = statistics.get1();
      this.rstd = statistics.get2();
    }

    @Override
    void run(boolean keep) {
      switch (direction) {
        case INFERENCE -> {
          try (Tensor y = torch.layer_norm(x, shape, gamma, beta, Tensors.EPSILON, false)) {
            if (keep) {
              copy(tensors.y(), y);
            }
          }
        }
        case FORWARD -> forward(x, keep);
        case RESIDUAL -> {
          torch.add_out(sum, x, residual).close();
          forward(sum, keep);
        }
        case BACKWARD -> {
          try (T_TensorTensorTensor_T results =
              torch.native_layer_norm_backward(dy, x, shape, mean, rstd, gamma, beta, all)) {
            if (keep) {
              copy(tensors.dx(), results.get0());
              copy(tensors.dweight(), results.get1());
              copy(tensors.dbias(), results.get2());
            }
          }
        }
      }
    }

    private void forward(Tensor input, boolean keep) {
      try (T_TensorTensorTensor_T results =
          torch.native_layer_norm(input, shape, gamma, beta, Tensors.EPSILON)) {
        if (keep) {
          copy(tensors.y(), results.get0());
        }
      }
    }

    @Override
    void close() {
      dy.close();
      statistics.close();
      super.close();
    }
  }

  private static final class RmsNormCall extends Call {
    private final TensorOptional gamma;
    private final DoubleOptional epsilon = new DoubleOptional(Tensors.EPSILON);

    RmsNormCall(Workload workload, Tensors tensors) {
      super(workload, tensors);
      this.gamma = new TensorOptional(weight);
    }

    @Override
    void run(boolean keep) {
      if (isResidual()) {
        torch.add_out(sum, x, residual).close();
      }
      try (Tensor y = torch.rms_norm(isResidual() ? sum : x, shape, gamma, epsilon)) {
        if (keep) {
          copy(tensors.y(), y);
        }
      }
    }
  }

  /** The graph of one forward pass, for repeated backward passes. */
  private static final class RmsNormBackward extends Call {
    private final Tensor y;
    private final TensorVector outputs;
    private final TensorVector inputs;
    private final TensorVector gradients;
    private final BoolOptional retain = new BoolOptional(true);

    RmsNormBackward(Workload workload, Tensors tensors) {
      super(workload, tensors);
      x.set_requires_grad(true);
      weight.set_requires_grad(true);
      this.y =
          torch.rms_norm(x, shape, new TensorOptional(weight), new DoubleOptional(Tensors.EPSILON));
      this.outputs = new TensorVector(y);
      this.inputs = new TensorVector(x, weight);
      this.gradients = new TensorVector(tensor(tensors.dy()));
    }

    @Override
    boolean needsAutograd() {
      return true;
    }

    @Override
    void run(boolean keep) {
      try (TensorVector results = torch.grad(outputs, inputs, gradients, retain, false, false)) {
        if (keep) {
          copy(tensors.dx(), results.get(0));
          copy(tensors.dweight(), results.get(1));
        }
      }
    }

    @Override
    void close() {
      outputs.close();
      y.close();
      inputs.close();
      gradients.close();
      super.close();
    }
  }

  private static final class Prepared implements Contender {
    /** The largest temporary results: float32 copies of 16-bit tensors, and a few more. */
    private static final long LARGEST = 4;

    private final Call call;
    private final boolean warm;
    private final int threads;
    private final long largestBytes;
    private @Nullable InferenceMode mode;
    private Malloc.@Nullable Plugs plugs;

    Prepared(Call call, boolean warm, Workload workload) {
      this.call = call;
      this.warm = warm;
      this.threads = workload.threads();
      this.largestBytes = LARGEST * workload.tensorBytes();
    }

    @Override
    public void begin() {
      torch.set_num_threads(threads);
      if (warm) {
        Malloc.keepFreed();
      } else {
        plugs = Malloc.asUsual(largestBytes);
      }
      if (!call.needsAutograd()) {
        mode = new InferenceMode(true);
      }
    }

    @Override
    public void run() {
      call.run(false);
    }

    @Override
    public void runIntoTensors() {
      call.run(true);
    }

    @Override
    public void end() {
      if (mode != null) {
        mode.close();
        mode = null;
      }
      if (plugs != null) {
        plugs.close();
        plugs = null;
      }
      Malloc.asUsual();
    }

    @Override
    public void close() {
      call.close();
    }
  }
}
