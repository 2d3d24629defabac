package org.normcore.cli.onnx;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.primitives.ImmutableLongArray;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.normcore.cli.safetensors.Quoted;

/** Reads a model's graph: its nodes, and its tensors without their data. */
final class GraphParser {
  // ModelProto.
  private static final int IR_VERSION = 1;
  private static final int GRAPH = 7;
  // GraphProto.
  private static final int NODE = 1;
  private static final int INITIALIZER = 5;
  // NodeProto.
  private static final int INPUT = 1;
  private static final int OUTPUT = 2;
  private static final int NODE_NAME = 3;
  private static final int OP_TYPE = 4;
  private static final int ATTRIBUTE = 5;
  private static final int DOMAIN = 7;
  // AttributeProto.
  private static final int ATTRIBUTE_NAME = 1;
  private static final int FLOAT = 2;
  private static final int INT = 3;
  private static final int TENSOR = 5;
  private static final int INTS = 8;

  private static final int MOST_OF_A_LIST = 16;

  private final Fields fields;
  private final ImmutableList.Builder<OnnxNode> nodes = ImmutableList.builder();
  private final Map<String, OnnxTensor> tensors = new LinkedHashMap<>();
  private final Set<String> made = new HashSet<>();
  private boolean hasVersion;
  private boolean hasGraph;

  private GraphParser(Fields fields) {
    this.fields = fields;
  }

  /**
   * A model's graph.
   *
   * @param nodes the nodes, in the order in which they can be computed
   * @param tensors the constants by name: initialisers, and the values of Constant nodes
   */
  record Graph(ImmutableList<OnnxNode> nodes, ImmutableMap<String, OnnxTensor> tensors) {}

  static Graph parse(Path file, long size) throws IOException {
    // Not mapped: a stream skips the data of large tensors without reading it.
    try (InputStream stream = new FileInputStream(file.toFile())) {
      Fields fields = new Fields(file, stream, 0, Math.toIntExact(size));
      GraphParser parser = new GraphParser(fields);
      try {
        fields.all(parser::model);
      } catch (InvalidProtocolBufferException e) {
        throw fields.fault(
            "is damaged, or not an ONNX model: byte "
                + fields.position()
                + " does not begin a protobuf field");
      }
      if (!parser.hasGraph || !parser.hasVersion) {
        throw fields.fault(
            "is not an ONNX model: it has no " + (parser.hasGraph ? "ir_version" : "graph"));
      }
      return new Graph(parser.nodes.build(), ImmutableMap.copyOf(parser.tensors));
    }
  }

  private boolean model(int field, int wireType) throws IOException {
    if (field == GRAPH && wireType == Fields.BYTES) {
      hasGraph = true;
      // Protobuf merges a second graph with the first.
      fields.message("graph", this::graph);
      return true;
    }
    hasVersion |= field == IR_VERSION && wireType == Fields.VARINT;
    return false;
  }

  private boolean graph(int field, int wireType) throws IOException {
    if (field == NODE && wireType == Fields.BYTES) {
      new Node().read();
      return true;
    }
    if (field == INITIALIZER && wireType == Fields.BYTES) {
      add(TensorParser.parse(fields));
      return true;
    }
    return false;
  }

  private void add(Optional<OnnxTensor> tensor) {
    if (tensor.isPresent()) {
      String name = tensor.get().entry().name();
      if (tensors.put(name, tensor.get()) != null) {
        throw fields.fault(name, "occurs twice");
      }
    }
  }

  /** The builder of a node. */
  private final class Node {
    private final ImmutableList.Builder<String> inputs = ImmutableList.builder();
    private final ImmutableList.Builder<String> outputs = ImmutableList.builder();
    private final Map<String, Double> numbers = new LinkedHashMap<>();
    private final Map<String, ImmutableLongArray> lists = new LinkedHashMap<>();
    private Optional<OnnxTensor> constant = Optional.empty();
    private String op = "";
    private String domain = "";
    private String name = "";

    void read() throws IOException {
      fields.keep();
      fields.message("node", this::field);
      OnnxNode node =
          new OnnxNode(
              op,
              domain,
              name,
              inputs.build(),
              outputs.build(),
              ImmutableMap.copyOf(numbers),
              ImmutableMap.copyOf(lists));
      if (op.equals("Constant")) {
        add(constant.map(tensor -> tensor.named(node.output(0))));
      }
      for (String output : node.outputs()) {
        if (!output.isEmpty() && !made.add(output)) {
          throw fields.fault("computes the value \"" + Quoted.shorten(output) + "\" in two nodes");
        }
      }
      nodes.add(node);
    }

    private boolean field(int field, int wireType) throws IOException {
      if (wireType != Fields.BYTES) {
        return false;
      }
      switch (field) {
        case INPUT -> inputs.add(fields.text("name"));
        case OUTPUT -> outputs.add(fields.text("name"));
        case NODE_NAME -> name = fields.text("node's name");
        case OP_TYPE -> op = fields.text("operator").intern();
        case DOMAIN -> domain = fields.text("domain").intern();
        case ATTRIBUTE -> new Attribute(this).read();
        default -> {
          return false;
        }
      }
      return true;
    }
  }

  /** The builder of an attribute. */
  private final class Attribute {
    private final Node node;
    private final ImmutableLongArray.Builder list = ImmutableLongArray.builder();
    private String name = "";
    private Optional<Double> number = Optional.empty();
    private int listed;

    Attribute(Node node) {
      this.node = node;
    }

    void read() throws IOException {
      fields.keep();
      fields.message("attribute", this::field);
      number.ifPresent(value -> node.numbers.put(name, value));
      if (listed > 0) {
        node.lists.put(name, list.build());
      }
    }

    private boolean field(int field, int wireType) throws IOException {
      if (field == ATTRIBUTE_NAME && wireType == Fields.BYTES) {
        name = fields.text("attribute's name");
      } else if (field == FLOAT && wireType == Fields.FIXED32) {
        number = Optional.of(OnnxFile.decimal(Float.intBitsToFloat(fields.fixed32())));
      } else if (field == INT && wireType == Fields.VARINT) {
        number = Optional.of((double) fields.number());
      } else if (field == INTS && wireType == Fields.VARINT) {
        element();
      } else if (field == INTS && wireType == Fields.BYTES) {
        fields.packed("attribute", this::element);
      } else if (field == TENSOR && wireType == Fields.BYTES) {
        node.constant = TensorParser.parse(fields);
      } else {
        return false;
      }
      return true;
    }

    private void element() throws IOException {
      long value = fields.number();
      if (++listed <= MOST_OF_A_LIST) {
        list.add(value);
      }
    }
  }
}
