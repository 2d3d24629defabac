package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import com.google.common.collect.ImmutableSortedSet;
import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.normcore.cli.BadInput;
import org.normcore.cli.onnx.OnnxFile;
import org.normcore.cli.safetensors.SafetensorsDirectory;
import org.normcore.cli.safetensors.TensorSource;

/**
 * The files of {@code --model}: a Hugging Face directory, or an ONNX model, alone or in a
 * directory.
 */
final class ModelFiles {
  private static final String EXTENSION = ".onnx";

  private final Path directory;
  private final Optional<Path> onnx;

  private ModelFiles(Path directory, Optional<Path> onnx) {
    this.directory = directory;
    this.onnx = onnx;
  }

  /** Finds the files of a path. *.safetensors take precedence over ONNX models. */
  static ModelFiles of(Path path) throws IOException {
    if (Files.isRegularFile(path) && path.toString().endsWith(EXTENSION)) {
      Path parent = path.toAbsolutePath().normalize().getParent();
      return new ModelFiles(parent, Optional.of(path));
    }
    if (!Files.isDirectory(path)) {
      throw new BadInput(
          path
              + (Files.exists(path) ? ": is not a directory" : ": does not exist")
              + ", expected a directory with config.json and *.safetensors or with an"
              + " .onnx file, or such a file");
    }
    boolean none = list(path, "*.{safetensors,safetensors.index.json}").isEmpty();
    Optional<Path> onnx = none ? onnxOf(path) : Optional.empty();
    return new ModelFiles(onnx.map(Path::getParent).orElse(path), onnx);
  }

  private static Optional<Path> onnxOf(Path directory) throws IOException {
    for (Path usual :
        ImmutableList.of(directory.resolve("model.onnx"), directory.resolve("onnx/model.onnx"))) {
      if (Files.isRegularFile(usual)) {
        return Optional.of(usual);
      }
    }
    ImmutableSortedSet<String> names = list(directory, "*" + EXTENSION);
    if (names.size() > 1) {
      throw new BadInput(
          directory
              + ": holds several ONNX models, "
              + names.first()
              + " and "
              + names.last()
              + " among them; expected the path of one model");
    }
    return names.stream().findFirst().map(directory::resolve);
  }

  private static ImmutableSortedSet<String> list(Path directory, String pattern)
      throws IOException {
    ImmutableSortedSet.Builder<String> names = ImmutableSortedSet.naturalOrder();
    try (DirectoryStream<Path> found = Files.newDirectoryStream(directory, pattern)) {
      found.forEach(file -> names.add(file.getFileName().toString()));
    }
    return names.build();
  }

  /**
   * The model's configuration. It is optional for a graph, which describes its norms itself. Graphs
   * are usually in a directory onnx within the model's directory.
   */
  ModelConfig config() throws IOException {
    if (onnx.isEmpty() || Files.exists(directory.resolve(ModelConfig.FILE))) {
      return ModelConfig.read(directory);
    }
    Path parent = directory.toAbsolutePath().normalize().getParent();
    boolean within = directory.toAbsolutePath().normalize().endsWith("onnx") && parent != null;
    return within && Files.exists(parent.resolve(ModelConfig.FILE))
        ? ModelConfig.read(parent)
        : ModelConfig.none(directory);
  }

  /** Opens the tensors: an {@link OnnxFile} if the model is a graph. */
  TensorSource open() throws IOException {
    return onnx.isPresent() ? OnnxFile.open(onnx.get()) : SafetensorsDirectory.open(directory);
  }
}
