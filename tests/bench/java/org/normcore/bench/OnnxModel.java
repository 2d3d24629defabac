package org.normcore.bench;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import org.normcore.DType;
import org.normcore.TensorView;

/**
 * Writes a model of one node. The numbers are those of the fields in onnx.proto of the ONNX
 * project.
 */
final class OnnxModel {
  private static final int IR_VERSION = 8;
  private static final int OPSET = 17;

  private static final int ATTRIBUTE_FLOAT = 1;
  private static final int ATTRIBUTE_INT = 2;

  private final Message graph = new Message();
  private final Message node = new Message();

  OnnxModel(String domain, String op) {
    node.text(4, op).text(7, domain).text(3, op);
  }

  /** The next input of the node, and of the model. */
  OnnxModel input(String name, TensorView view) {
    node.text(1, name);
    graph.message(11, value(name, view.dtype(), view.shape()));
    return this;
  }

  /** The next input of the node: a constant. */
  OnnxModel constant(String name, TensorView view) {
    node.text(1, name);
    Message tensor = new Message();
    for (long size : view.shape()) {
      tensor.number(1, size);
    }
    tensor.number(2, type(view.dtype())).text(8, name).bytes(9, view.toBytes());
    graph.message(5, tensor);
    return this;
  }

  /** The next output of the node, and of the model. */
  OnnxModel output(String name, DType dtype, long... shape) {
    node.text(2, name);
    graph.message(12, value(name, dtype, shape));
    return this;
  }

  /** The node's next output is not wanted. */
  OnnxModel noOutput() {
    node.text(2, "");
    return this;
  }

  OnnxModel attribute(String name, float value) {
    node.message(5, new Message().text(1, name).real(2, value).number(20, ATTRIBUTE_FLOAT));
    return this;
  }

  OnnxModel attribute(String name, long value) {
    node.message(5, new Message().text(1, name).number(3, value).number(20, ATTRIBUTE_INT));
    return this;
  }

  byte[] bytes() {
    graph.text(2, "norm").message(1, node);
    return new Message()
        .number(1, IR_VERSION)
        .message(7, graph)
        .message(8, new Message().text(1, "").number(2, OPSET))
        .message(8, new Message().text(1, "com.microsoft").number(2, 1))
        .bytes();
  }

  private static Message value(String name, DType dtype, long... shape) {
    Message dimensions = new Message();
    for (long size : shape) {
      dimensions.message(1, new Message().number(1, size));
    }
    Message tensor = new Message().number(1, type(dtype)).message(2, dimensions);
    return new Message().text(1, name).message(2, new Message().message(1, tensor));
  }

  private static int type(DType dtype) {
    return switch (dtype) {
      case FLOAT32 -> 1;
      case FLOAT16 -> 10;
      case BFLOAT16 -> 16;
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }

  /** A protobuf message in the making. */
  private static final class Message {
    private final ByteString.Output storage = ByteString.newOutput();
    private final CodedOutputStream stream = CodedOutputStream.newInstance(storage);

    private interface Write {
      void run() throws IOException;
    }

    private Message write(Write write) {
      try {
        write.run();
        return this;
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }

    Message number(int field, long value) {
      return write(() -> stream.writeInt64(field, value));
    }

    Message real(int field, float value) {
      return write(() -> stream.writeFloat(field, value));
    }

    Message text(int field, String value) {
      return write(() -> stream.writeString(field, value));
    }

    Message bytes(int field, byte[] value) {
      return write(() -> stream.writeByteArray(field, value));
    }

    Message message(int field, Message value) {
      return bytes(field, value.bytes());
    }

    byte[] bytes() {
      write(stream::flush);
      return storage.toByteString().toByteArray();
    }
  }
}
