package org.normcore.bench;

import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtSession;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.internal.Memory;

/**
 * ONNX Runtime through its Java interface: one fused node with the affine parameters as constants;
 * writes results directly to the tensors.
 */
final class OnnxRuntime implements Library {
  /** Its workers spin for a while after the last call; the next contender waits until they stop. */
  private static final long REST_MILLIS = 100;

  private final OrtEnvironment environment =
      OrtEnvironment.getEnvironment(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);

  @Override
  public String name() {
    return "ONNX Runtime";
  }

  @Override
  public String version() {
    return environment.getVersion();
  }

  @Override
  public Contender prepare(Workload workload, Tensors tensors) throws Absent {
    if (workload.direction() == Direction.BACKWARD) {
      throw new Absent("inference only: no backward");
    }
    if (workload.weightType() != workload.dtype()) {
      throw new Absent("x and weight have one type");
    }
    Map<String, TensorView> inputs = new LinkedHashMap<>();
    Map<String, TensorView> outputs = new LinkedHashMap<>();
    byte[] model = model(workload, tensors, inputs, outputs);
    try {
      return new Prepared(environment, model, inputs, outputs, workload.threads());
    } catch (OrtException e) {
      throw new Absent(firstLine(e.getMessage()));
    }
  }

  private static String firstLine(String message) {
    return message == null ? "no reason given" : message.lines().findFirst().orElse("");
  }

  private static byte[] model(
      Workload workload,
      Tensors tensors,
      Map<String, TensorView> inputs,
      Map<String, TensorView> outputs) {
    boolean layer = workload.isLayerNorm();
    boolean residual = workload.direction() == Direction.RESIDUAL;
    String op = (residual ? "Skip" : "") + (layer ? "" : "Simplified") + "LayerNormalization";
    OnnxModel model = new OnnxModel(residual ? "com.microsoft" : "", op);
    model.attribute("epsilon", (float) Tensors.EPSILON);
    inputs.put("x", tensors.x());
    if (residual) {
      inputs.put("residual", tensors.residual());
    } else {
      model.attribute("axis", -1);
    }
    inputs.forEach(model::input);
    model.constant("weight", tensors.weight());
    if (layer) {
      model.constant("bias", tensors.bias());
    }
    outputs.put("y", tensors.y());
    model.output("y", workload.dtype(), tensors.y().shape());
    if (residual) {
      outputs.put("sum", tensors.sum());
      model.noOutput().noOutput().output("sum", workload.dtype(), tensors.sum().shape());
    } else if (workload.direction() == Direction.FORWARD) {
      int statistics = layer ? 2 : 1;
      for (int i = 0; i < statistics; i++) {
        String name = "statistic" + i;
        TensorView view = tensors.statistic(i).reshape(workload.shape().rows(), 1);
        outputs.put(name, view);
        model.output(name, view.dtype(), view.shape());
      }
    }
    return model.bytes();
  }

  private static OnnxJavaType type(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> OnnxJavaType.FLOAT;
      case BFLOAT16 -> OnnxJavaType.BFLOAT16;
      case FLOAT16 -> OnnxJavaType.FLOAT16;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }

  private static final class Prepared implements Contender {
    private final OrtSession session;
    private final boolean hasWorkers;
    private final Map<String, OnnxTensor> inputs;
    private final Map<String, OnnxTensor> outputs;

    Prepared(
        OrtEnvironment environment,
        byte[] model,
        Map<String, TensorView> inputs,
        Map<String, TensorView> outputs,
        int threads)
        throws OrtException {
      this.hasWorkers = threads > 1;
      try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
        options.setIntraOpNumThreads(threads);
        options.setInterOpNumThreads(1);
        options.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
        this.session = environment.createSession(model, options);
      }
      this.inputs = tensors(environment, inputs);
      this.outputs = tensors(environment, outputs);
    }

    private static Map<String, OnnxTensor> tensors(
        OrtEnvironment environment, Map<String, TensorView> views) throws OrtException {
      Map<String, OnnxTensor> tensors = new LinkedHashMap<>();
      for (Map.Entry<String, TensorView> entry : views.entrySet()) {
        TensorView view = entry.getValue();
        long bytes = view.elements() * view.dtype().bytes();
        tensors.put(
            entry.getKey(),
            OnnxTensor.createTensor(
                environment,
                Memory.byteBuffer(view.address(), bytes),
                view.shape(),
                type(view.dtype())));
      }
      return tensors;
    }

    @Override
    public void run() {
      try {
        session.run(inputs, outputs).close();
      } catch (OrtException e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    public void end() {
      if (hasWorkers) {
        try {
          Thread.sleep(REST_MILLIS);
        } catch (InterruptedException e) {
          Thread.currentThread().interrupt();
        }
      }
    }

    @Override
    public void close() {
      List<OnnxTensor> all = new ArrayList<>(inputs.values());
      all.addAll(outputs.values());
      all.forEach(OnnxTensor::close);
      try {
        session.close();
      } catch (OrtException e) {
        throw new IllegalStateException(e);
      }
    }
  }
}
