package org.normcore.oracle;

import com.google.common.collect.ImmutableList;
import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.UnknownFieldSet;
import com.google.protobuf.UnknownFieldSet.Field;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.normcore.testing.Protobuf;

/**
 * An ONNX model that can be split into submodels. The field numbers are those of onnx.proto of the
 * ONNX project.
 */
final class OnnxGraph {
  private static final int GRAPH = 7;
  private static final int NODE = 1;
  private static final int INITIALIZER = 5;
  private static final int INPUT = 11;
  private static final int OUTPUT = 12;
  private static final int FLOAT = 1;

  private final byte[] bytes;
  private final UnknownFieldSet model;
  private final UnknownFieldSet graph;
  private final List<Node> nodes = new ArrayList<>();
  private final Map<String, Node> makers = new HashMap<>();
  private final Map<String, ByteString> initialisers;
  private final Map<String, ByteString> inputs;

  /** A node. */
  record Node(String name, ImmutableList<String> inputs, ImmutableList<String> outputs) {
    static Node of(UnknownFieldSet fields) {
      return new Node(
          OnnxGraph.texts(fields, 3).get(0),
          OnnxGraph.texts(fields, 1),
          OnnxGraph.texts(fields, 2));
    }
  }

  OnnxGraph(byte[] bytes) throws IOException {
    this.bytes = bytes;
    this.model = fields(ByteString.copyFrom(bytes));
    this.graph = fields(model.getField(GRAPH).getLengthDelimitedList().get(0));
    for (ByteString each : graph.getField(NODE).getLengthDelimitedList()) {
      Node node = Node.of(fields(each));
      nodes.add(node);
      node.outputs().forEach(output -> makers.put(output, node));
    }
    this.initialisers = byName(INITIALIZER, 8);
    this.inputs = byName(INPUT, 1);
  }

  private static UnknownFieldSet fields(ByteString message) throws IOException {
    CodedInputStream in = message.newCodedInput();
    in.enableAliasing(true);
    return UnknownFieldSet.parseFrom(in);
  }

  private static ImmutableList<String> texts(UnknownFieldSet fields, int number) {
    return fields.getField(number).getLengthDelimitedList().stream()
        .map(ByteString::toStringUtf8)
        .collect(ImmutableList.toImmutableList());
  }

  private Map<String, ByteString> byName(int number, int nameNumber) throws IOException {
    Map<String, ByteString> all = new HashMap<>();
    for (ByteString each : graph.getField(number).getLengthDelimitedList()) {
      all.put(texts(fields(each), nameNumber).get(0), each);
    }
    return all;
  }

  List<Node> nodes() {
    return nodes;
  }

  /** The float32 elements of an initialiser. */
  byte[] initialiser(String name) throws IOException {
    return fields(initialisers.get(name)).getField(9).getLengthDelimitedList().get(0).toByteArray();
  }

  /** The unchanged model. */
  byte[] whole() {
    return bytes;
  }

  /**
   * The model with further outputs: protobuf merges consecutive messages, so a second graph with
   * outputs only adds them to the first.
   */
  byte[] withOutputs(List<String> names) {
    Protobuf more = new Protobuf();
    names.forEach(name -> more.message(OUTPUT, value(name)));
    byte[] tail = new Protobuf().message(GRAPH, more).bytes();
    byte[] all = Arrays.copyOf(bytes, bytes.length + tail.length);
    System.arraycopy(tail, 0, all, bytes.length, tail.length);
    return all;
  }

  /**
   * The submodel that computes one value.
   *
   * @param given values that become inputs of the submodel, if it needs them
   */
  Piece piece(String output, Set<String> given) {
    Set<Node> needed = new HashSet<>();
    Set<String> seen = new HashSet<>();
    Deque<String> pending = new ArrayDeque<>(List.of(output));
    List<String> pieceInputs = new ArrayList<>();
    UnknownFieldSet.Builder piece = UnknownFieldSet.newBuilder();
    while (!pending.isEmpty()) {
      String value = pending.pop();
      if (value.isEmpty() || !seen.add(value)) {
        continue;
      }
      if (given.contains(value)) {
        pieceInputs.add(value);
        add(piece, INPUT, ByteString.copyFrom(value(value).bytes()));
      } else if (inputs.containsKey(value)) {
        pieceInputs.add(value);
        add(piece, INPUT, inputs.get(value));
      } else if (initialisers.containsKey(value)) {
        add(piece, INITIALIZER, initialisers.get(value));
      } else {
        needed.add(makers.get(value));
        pending.addAll(makers.get(value).inputs());
      }
    }
    List<ByteString> raw = graph.getField(NODE).getLengthDelimitedList();
    for (int i = 0; i < nodes.size(); i++) {
      if (needed.contains(nodes.get(i))) {
        add(piece, NODE, raw.get(i));
      }
    }
    add(piece, 2, ByteString.copyFromUtf8("piece"));
    add(piece, OUTPUT, ByteString.copyFrom(value(output).bytes()));
    Field.Builder graphField = Field.newBuilder().addLengthDelimited(piece.build().toByteString());
    return new Piece(
        model.toBuilder()
            .clearField(GRAPH)
            .addField(GRAPH, graphField.build())
            .build()
            .toByteArray(),
        pieceInputs,
        output);
  }

  /** A submodel. */
  record Piece(byte[] model, List<String> inputs, String output) {}

  private static void add(UnknownFieldSet.Builder message, int number, ByteString value) {
    message.mergeField(number, Field.newBuilder().addLengthDelimited(value).build());
  }

  /** A float32 value of any shape. */
  private static Protobuf value(String name) {
    Protobuf tensor = new Protobuf().number(1, FLOAT);
    return new Protobuf().text(1, name).message(2, new Protobuf().message(1, tensor));
  }
}
