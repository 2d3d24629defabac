package org.normcore.bench;

import static org.bytedeco.dnnl.global.dnnl.*;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.dnnl.dnnl_engine;
import org.bytedeco.dnnl.dnnl_exec_arg_t;
import org.bytedeco.dnnl.dnnl_memory;
import org.bytedeco.dnnl.dnnl_memory_desc;
import org.bytedeco.dnnl.dnnl_primitive;
import org.bytedeco.dnnl.dnnl_primitive_desc;
import org.bytedeco.dnnl.dnnl_stream;
import org.bytedeco.dnnl.dnnl_version_t;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * oneDNN through its C interface: creates primitives and memory objects once and writes results
 * directly to the tensors.
 */
final class OneDnn implements Library {
  private final dnnl_engine engine = new dnnl_engine();
  private final dnnl_stream stream = new dnnl_stream();

  OneDnn() {
    require(dnnl_engine_create(engine, dnnl_cpu, 0), "dnnl_engine_create");
    require(dnnl_stream_create(stream, engine, dnnl_stream_default_flags), "dnnl_stream_create");
  }

  @Override
  public String name() {
    return "oneDNN";
  }

  @Override
  public String version() {
    dnnl_version_t version = dnnl_version();
    return version.major() + "." + version.minor() + "." + version.patch();
  }

  @Override
  public String remark() {
    return "its dx of RMSNorm is wrong: it subtracts the mean of the gradient at xhat, as LayerNorm"
        + " does; it is timed as it is, and compared with ours after adding that again";
  }

  @Override
  public Contender prepare(Workload workload, Tensors tensors) throws Absent {
    // The creation of a primitive fixes its number of threads.
    OpenMp.setThreads(workload.threads());
    Prepared prepared = new Prepared(workload, tensors);
    try {
      prepared.build();
      return prepared;
    } catch (Absent | RuntimeException e) {
      prepared.close();
      throw e;
    }
  }

  private static void require(int status, String function) {
    if (status != dnnl_success) {
      throw new IllegalStateException(function + " gave status " + status);
    }
  }

  private static void offered(int status, String what) throws Absent {
    if (status == dnnl_unimplemented) {
      throw new Absent("no implementation of " + what + " on this CPU");
    }
    require(status, what);
  }

  private static int type(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> dnnl_f32;
      case BFLOAT16 -> dnnl_bf16;
      case FLOAT16 -> dnnl_f16;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }

  /** A primitive with its arguments. */
  private record Step(dnnl_primitive primitive, dnnl_exec_arg_t arguments, int count) {}

  /** One argument of a primitive. */
  private record Argument(int index, dnnl_memory memory) {}

  private final class Prepared implements Contender {
    private final Workload workload;
    private final Tensors tensors;
    private final List<Runnable> closers = new ArrayList<>();
    private final List<Step> steps = new ArrayList<>();

    Prepared(Workload workload, Tensors tensors) {
      this.workload = workload;
      this.tensors = tensors;
    }

    void build() throws Absent {
      dnnl_memory_desc matrix = descriptor(tensors.x());
      dnnl_memory_desc vector = descriptor(tensors.weight());
      TensorView input = tensors.x();
      if (workload.direction() == Direction.RESIDUAL) {
        steps.add(sum(matrix));
        input = tensors.sum();
      }
      boolean layer = workload.isLayerNorm();
      int flags = dnnl_use_scale | (layer ? dnnl_use_shift : dnnl_rms_norm);
      int weightType = type(workload.weightType());
      boolean inference = workload.direction() == Direction.INFERENCE;
      dnnl_primitive_desc forward = new dnnl_primitive_desc();
      offered(
          dnnl_layer_normalization_forward_primitive_desc_create_v2(
              forward,
              engine,
              inference ? dnnl_forward_inference : dnnl_forward_training,
              matrix,
              matrix,
              null,
              weightType,
              (float) Tensors.EPSILON,
              flags,
              null),
          "layer normalization, forward, " + Names.types(workload.dtype(), workload.weightType()));
      closers.add(() -> dnnl_primitive_desc_destroy(forward));

      List<Argument> arguments = new ArrayList<>();
      arguments.add(new Argument(DNNL_ARG_SRC, memory(matrix, input)));
      arguments.add(new Argument(DNNL_ARG_SCALE, memory(vector, tensors.weight())));
      if (layer) {
        arguments.add(new Argument(DNNL_ARG_SHIFT, memory(vector, tensors.bias())));
      }
      if (!inference) {
        long[] rows = {workload.shape().rows()};
        TensorView variance = tensors.statistic(0);
        dnnl_memory_desc statistics = descriptor(DType.FLOAT32, rows);
        arguments.add(new Argument(DNNL_ARG_VARIANCE, memory(statistics, variance)));
        if (layer) {
          arguments.add(new Argument(DNNL_ARG_MEAN, memory(statistics, tensors.statistic(1))));
        }
      }
      List<Argument> forwardArguments = new ArrayList<>(arguments);
      forwardArguments.add(new Argument(DNNL_ARG_DST, memory(matrix, tensors.y())));
      Step normalise = step(forward, forwardArguments);
      if (workload.direction() != Direction.BACKWARD) {
        steps.add(normalise);
        return;
      }
      execute(normalise);
      dnnl_primitive_desc backward = new dnnl_primitive_desc();
      offered(
          dnnl_layer_normalization_backward_primitive_desc_create_v2(
              backward,
              engine,
              dnnl_backward,
              matrix,
              matrix,
              matrix,
              null,
              weightType,
              weightType,
              (float) Tensors.EPSILON,
              flags,
              forward,
              null),
          "layer normalization, backward, " + Names.types(workload.dtype(), workload.weightType()));
      closers.add(() -> dnnl_primitive_desc_destroy(backward));
      arguments.add(new Argument(DNNL_ARG_DIFF_DST, memory(matrix, tensors.dy())));
      arguments.add(new Argument(DNNL_ARG_DIFF_SRC, memory(matrix, tensors.dx())));
      arguments.add(new Argument(DNNL_ARG_DIFF_SCALE, memory(vector, tensors.dweight())));
      if (layer) {
        arguments.add(new Argument(DNNL_ARG_DIFF_SHIFT, memory(vector, tensors.dbias())));
      }
      steps.add(step(backward, arguments));
    }

    private Step sum(dnnl_memory_desc matrix) throws Absent {
      dnnl_primitive_desc add = new dnnl_primitive_desc();
      offered(
          dnnl_binary_primitive_desc_create(
              add, engine, dnnl_binary_add, matrix, matrix, matrix, null),
          "the sum of two tensors");
      closers.add(() -> dnnl_primitive_desc_destroy(add));
      return step(
          add,
          List.of(
              new Argument(DNNL_ARG_SRC_0, memory(matrix, tensors.x())),
              new Argument(DNNL_ARG_SRC_1, memory(matrix, tensors.residual())),
              new Argument(DNNL_ARG_DST, memory(matrix, tensors.sum()))));
    }

    private dnnl_memory_desc descriptor(TensorView view) {
      return descriptor(view.dtype(), view.shape());
    }

    private dnnl_memory_desc descriptor(DType dtype, long[] shape) {
      long[] strides = shape.length == 1 ? new long[] {1} : new long[] {shape[1], 1};
      dnnl_memory_desc descriptor = new dnnl_memory_desc();
      require(
          dnnl_memory_desc_create_with_strides(
              descriptor, shape.length, shape, type(dtype), strides),
          "dnnl_memory_desc_create_with_strides");
      closers.add(() -> dnnl_memory_desc_destroy(descriptor));
      return descriptor;
    }

    private dnnl_memory memory(dnnl_memory_desc descriptor, TensorView view) {
      dnnl_memory memory = new dnnl_memory();
      require(
          dnnl_memory_create(memory, descriptor, engine, Address.of(view)), "dnnl_memory_create");
      closers.add(() -> dnnl_memory_destroy(memory));
      return memory;
    }

    private Step step(dnnl_primitive_desc descriptor, List<Argument> arguments) {
      dnnl_primitive primitive = new dnnl_primitive();
      require(dnnl_primitive_create(primitive, descriptor), "dnnl_primitive_create");
      closers.add(() -> dnnl_primitive_destroy(primitive));
      dnnl_exec_arg_t array = new dnnl_exec_arg_t(arguments.size());
      for (int i = 0; i < arguments.size(); i++) {
        array.getPointer(i).arg(arguments.get(i).index()).memory(arguments.get(i).memory());
      }
      return new Step(primitive, array, arguments.size());
    }

    private void execute(Step step) {
      require(
          dnnl_primitive_execute(step.primitive(), stream, step.count(), step.arguments()),
          "dnnl_primitive_execute");
    }

    @Override
    public void begin() {
      OpenMp.setThreads(workload.threads());
    }

    @Override
    public void run() {
      for (int i = 0; i < steps.size(); i++) {
        execute(steps.get(i));
      }
      dnnl_stream_wait(stream);
    }

    @Override
    public void runIntoTensors() {
      run();
      if (!workload.isLayerNorm() && workload.direction() == Direction.BACKWARD) {
        addBackSubtractedTerms();
      }
    }

    /** See {@link OneDnn#remark()}. */
    private void addBackSubtractedTerms() {
      int n = workload.shape().hiddenSize();
      float[] weight = tensors.weight().toFloats();
      List<TensorView> dxEnds = Check.ends(tensors.dx());
      List<TensorView> dyEnds = Check.ends(tensors.dy());
      List<TensorView> xEnds = Check.ends(tensors.x());
      for (int end = 0; end < dxEnds.size(); end++) {
        float[] dx = dxEnds.get(end).toFloats();
        float[] dy = dyEnds.get(end).toFloats();
        float[] x = xEnds.get(end).toFloats();
        for (int begin = 0; begin < dx.length; begin += n) {
          double squares = 0;
          double sum = 0;
          for (int i = 0; i < n; i++) {
            squares += (double) x[begin + i] * x[begin + i];
            sum += (double) dy[begin + i] * weight[i];
          }
          double term = sum / n / Math.sqrt(squares / n + Tensors.EPSILON);
          for (int i = 0; i < n; i++) {
            dx[begin + i] += (float) term;
          }
        }
        dxEnds.get(end).copyFrom(dx);
      }
    }

    @Override
    public void close() {
      for (int i = closers.size() - 1; i >= 0; i--) {
        closers.get(i).run();
      }
      closers.clear();
    }
  }
}
