package org.normcore.bench;

import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.testing.Protobuf;

/** Writes a model of one node. The field numbers are those of onnx.proto of the ONNX project. */
final class OnnxModel {
  private static final int IR_VERSION = 8;
  private static final int OPSET = 17;

  private static final int ATTRIBUTE_FLOAT = 1;
  private static final int ATTRIBUTE_INT = 2;

  private final Protobuf graph = new Protobuf();
  private final Protobuf node = new Protobuf();

  OnnxModel(String domain, String op) {
    node.text(4, op).text(7, domain).text(3, op);
  }

  /** Adds an input of the node and the model. */
  OnnxModel input(String name, TensorView view) {
    node.text(1, name);
    graph.message(11, value(name, view.dtype(), view.shape()));
    return this;
  }

  /** Adds a constant input of the node. */
  OnnxModel constant(String name, TensorView view) {
    node.text(1, name);
    Protobuf tensor = new Protobuf();
    for (long size : view.shape()) {
      tensor.number(1, size);
    }
    tensor.number(2, type(view.dtype())).text(8, name).bytes(9, view.toBytes());
    graph.message(5, tensor);
    return this;
  }

  /** Adds an output of the node and the model. */
  OnnxModel output(String name, DType dtype, long... shape) {
    node.text(2, name);
    graph.message(12, value(name, dtype, shape));
    return this;
  }

  /** Omits the next output of the node. */
  OnnxModel noOutput() {
    node.text(2, "");
    return this;
  }

  OnnxModel attribute(String name, float value) {
    node.message(5, new Protobuf().text(1, name).real(2, value).number(20, ATTRIBUTE_FLOAT));
    return this;
  }

  OnnxModel attribute(String name, long value) {
    node.message(5, new Protobuf().text(1, name).number(3, value).number(20, ATTRIBUTE_INT));
    return this;
  }

  byte[] bytes() {
    graph.text(2, "norm").message(1, node);
    return new Protobuf()
        .number(1, IR_VERSION)
        .message(7, graph)
        .message(8, new Protobuf().text(1, "").number(2, OPSET))
        .message(8, new Protobuf().text(1, "com.microsoft").number(2, 1))
        .bytes();
  }

  private static Protobuf value(String name, DType dtype, long... shape) {
    Protobuf dimensions = new Protobuf();
    for (long size : shape) {
      dimensions.message(1, new Protobuf().number(1, size));
    }
    Protobuf tensor = new Protobuf().number(1, type(dtype)).message(2, dimensions);
    return new Protobuf().text(1, name).message(2, new Protobuf().message(1, tensor));
  }

  private static int type(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 1;
      case FLOAT16 -> 10;
      case BFLOAT16 -> 16;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }
}
