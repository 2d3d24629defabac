package org.normcore.testing;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Builds ONNX models. The field numbers are those of onnx.proto of the ONNX project. */
public final class OnnxModels {
  /** The number of float32 among the types. */
  public static final int FLOAT = 1;

  /** The number of int64 among the types. */
  public static final int INT64 = 7;

  private OnnxModels() {}

  /** A model of a graph. */
  public static byte[] model(Protobuf graph) {
    return new Protobuf().number(1, 8).message(7, graph).bytes();
  }

  /** A tensor without data. */
  public static Protobuf tensor(String name, int type, long... shape) {
    Protobuf tensor = new Protobuf();
    for (long size : shape) {
      tensor.number(1, size);
    }
    return tensor.number(2, type).text(8, name);
  }

  /** A float32 tensor. */
  public static Protobuf floats(String name, float[] values, long... shape) {
    return tensor(name, FLOAT, shape).bytes(9, raw(values));
  }

  /** A float32 tensor of one dimension. */
  public static Protobuf vector(String name, float... values) {
    return floats(name, values, values.length);
  }

  /** The bytes of floats. */
  public static byte[] raw(float... values) {
    ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      bytes.putFloat(value);
    }
    return bytes.array();
  }

  /** A node with one output. */
  public static Protobuf node(String op, String output, String... inputs) {
    Protobuf node = new Protobuf();
    for (String input : inputs) {
      node.text(1, input);
    }
    return node.text(2, output).text(4, op);
  }

  /** An attribute that is a float. */
  public static Protobuf attribute(String name, float value) {
    return new Protobuf().text(1, name).real(2, value).number(20, 1);
  }

  /** An attribute that is a list of whole numbers. */
  public static Protobuf list(String name, long... values) {
    Protobuf attribute = new Protobuf().text(1, name);
    for (long value : values) {
      attribute.number(8, value);
    }
    return attribute.number(20, 7);
  }
}
