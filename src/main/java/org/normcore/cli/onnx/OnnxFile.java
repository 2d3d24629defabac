package org.normcore.cli.onnx;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableMap;
import com.google.common.collect.Maps;
import com.google.protobuf.InvalidProtocolBufferException;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.Quoted;
import org.normcore.cli.safetensors.StoredType;
import org.normcore.cli.safetensors.TensorBytes;
import org.normcore.cli.safetensors.TensorEntry;
import org.normcore.cli.safetensors.TensorSource;

/**
 * One ONNX model. Opening it reads the graph and skips the data of its tensors; {@link #view} maps
 * a tensor, from this file or from the external file that holds its data.
 *
 * <p>The tensors are the initialisers of the model's graph and the values of its Constant nodes.
 * Tensors of text and of elements smaller than a byte are ignored, and so are the graphs within
 * nodes (branches, loops).
 */
public final class OnnxFile implements TensorSource {
  private static final int MOST_CONSTANTS = 16;

  private final Path file;
  private final FileChannel channel;
  private final GraphParser.Graph graph;
  private final ImmutableMap<String, TensorEntry> entries;

  private OnnxFile(Path file, FileChannel channel, GraphParser.Graph graph) {
    this.file = file;
    this.channel = channel;
    this.graph = graph;
    this.entries = ImmutableMap.copyOf(Maps.transformValues(graph.tensors(), OnnxTensor::entry));
  }

  /**
   * Opens a model and reads its graph.
   *
   * @throws BadInput if the file is not a valid ONNX model
   */
  public static OnnxFile open(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new BadInput(
          file + ": " + (Files.exists(file) ? "is not a regular file" : "does not exist"));
    }
    FileChannel channel = FileChannel.open(file, StandardOpenOption.READ);
    try {
      long size = channel.size();
      if (size > Integer.MAX_VALUE) {
        throw new BadInput(
            file
                + ": has "
                + size
                + " bytes, but a protobuf message has at most 2^31 - 1; larger ONNX models keep their"
                + " weights in external files");
      }
      return new OnnxFile(file, channel, GraphParser.parse(file, size));
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  /** The nodes, in the order in which they can be computed. */
  public ImmutableList<OnnxNode> nodes() {
    return graph.nodes();
  }

  @Override
  public ImmutableMap<String, TensorEntry> entries() {
    return entries;
  }

  @Override
  public TensorView view(String name) throws IOException {
    OnnxTensor tensor = tensor(name);
    DType dtype =
        tensor
            .entry()
            .type()
            .dtype()
            .orElseThrow(
                () -> fault(name, "is " + tensor.entry().type() + ", not a floating-point type"));
    if (tensor.coded()) {
      NativeBuffer memory = NativeBuffer.allocate(tensor.entry().bytes());
      decode(tensor, memory.asByteBuffer());
      return memory.view(dtype, tensor.entry().shape().toArray());
    }
    if (tensor.external().isEmpty()) {
      return TensorBytes.view(file, channel, tensor.entry(), dtype);
    }
    Path data = externalFile(tensor);
    try (FileChannel external = FileChannel.open(data, StandardOpenOption.READ)) {
      return TensorBytes.view(data, external, tensor.entry(), dtype);
    }
  }

  /**
   * The elements of a small constant: at most 16, in F32, F64, F16, BF16, I64 or I32, in this file;
   * empty if the name has no such constant. Elements in F32 become the shortest decimal numbers
   * that round to them.
   */
  public Optional<double[]> constant(String name) throws IOException {
    OnnxTensor tensor = graph.tensors().get(name);
    if (tensor == null
        || tensor.external().isPresent()
        || tensor.entry().elements() > MOST_CONSTANTS) {
      return Optional.empty();
    }
    StoredType type = tensor.entry().type();
    if (type == StoredType.I64 || type == StoredType.I32) {
      return Optional.of(integers(tensor));
    }
    if (!type.dtype().map(DType::isNormType).orElse(false)) {
      return Optional.empty();
    }
    TensorView view = view(name);
    double[] values = view.toDoubles();
    if (view.dtype() == DType.FLOAT32) {
      for (int i = 0; i < values.length; i++) {
        values[i] = decimal((float) values[i]);
      }
    }
    return Optional.of(values);
  }

  /** The shortest decimal number that rounds to a float: presumably what its author wrote. */
  static double decimal(float value) {
    return Double.parseDouble(Float.toString(value));
  }

  private double[] integers(OnnxTensor tensor) throws IOException {
    ByteBuffer bytes =
        ByteBuffer.allocate((int) tensor.entry().bytes()).order(ByteOrder.nativeOrder());
    if (tensor.coded()) {
      decode(tensor, bytes);
    } else {
      while (bytes.hasRemaining()) {
        if (channel.read(bytes, tensor.entry().begin() + bytes.position()) < 0) {
          throw new BadInput(file + ": became shorter while it was read");
        }
      }
    }
    bytes.flip();
    double[] values = new double[(int) tensor.entry().elements()];
    for (int i = 0; i < values.length; i++) {
      values[i] = tensor.entry().type() == StoredType.I64 ? bytes.getLong() : bytes.getInt();
    }
    return values;
  }

  private void decode(OnnxTensor tensor, ByteBuffer target) throws IOException {
    try (InputStream stream = new FileInputStream(file.toFile())) {
      stream.skipNBytes(tensor.begin());
      int bytes = Math.toIntExact(tensor.end() - tensor.begin());
      Fields fields = new Fields(file, stream, tensor.begin(), bytes);
      new TensorDecoder(fields, tensor.entry(), target).run();
    } catch (InvalidProtocolBufferException e) {
      throw fault(tensor.entry().name(), "has damaged data");
    }
  }

  private Path externalFile(OnnxTensor tensor) throws IOException {
    String name = tensor.entry().name();
    String location = tensor.external().orElseThrow();
    Path directory = file.toAbsolutePath().normalize().getParent();
    // A location outside the directory is an attack, never a model's data.
    boolean harmless = !location.isEmpty() && location.chars().noneMatch(Character::isISOControl);
    Path data = harmless ? directory.resolve(location).normalize() : directory;
    if (!harmless || Path.of(location).isAbsolute() || !data.startsWith(directory)) {
      throw fault(
          name,
          "has the location \""
              + Quoted.shorten(location)
              + "\", expected the name of a file in the model's directory");
    }
    if (!Files.isRegularFile(data)) {
      throw fault(name, "has the location " + data + ", which is not a file");
    }
    if (Files.size(data) < tensor.entry().end()) {
      throw fault(
          name,
          "ends at byte "
              + tensor.entry().end()
              + " of "
              + data
              + ", which has only "
              + Files.size(data));
    }
    return data;
  }

  private OnnxTensor tensor(String name) {
    OnnxTensor tensor = graph.tensors().get(name);
    if (tensor == null) {
      throw new BadInput(file + ": has no tensor \"" + Quoted.shorten(name) + "\"");
    }
    return tensor;
  }

  private BadInput fault(String tensor, String fault) {
    return new BadInput(file + ": tensor \"" + Quoted.shorten(tensor) + "\" " + fault);
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
