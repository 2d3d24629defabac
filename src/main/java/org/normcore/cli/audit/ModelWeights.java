package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.SafetensorsDirectory;
import org.normcore.cli.safetensors.TensorEntry;

/** The weights of a model's directory: its tensors of two dimensions or more. */
final class ModelWeights implements Fp8Source {
  private final SafetensorsDirectory directory;
  private final ImmutableList<String> names;

  private ModelWeights(SafetensorsDirectory directory, ImmutableList<String> names) {
    this.directory = directory;
    this.names = names;
  }

  static ModelWeights open(Path path) throws IOException {
    if (!Files.isDirectory(path)) {
      throw new BadInput(path + ": is not a directory, expected one with *.safetensors");
    }
    SafetensorsDirectory directory = SafetensorsDirectory.open(path);
    ImmutableList<String> names =
        directory.entries().values().stream()
            .filter(ModelWeights::isWeight)
            .map(TensorEntry::name)
            .collect(ImmutableList.toImmutableList());
    if (names.isEmpty()) {
      directory.close();
      throw new BadInput(
          path
              + ": has no weights, that is tensors of two dimensions or more in F32, BF16, F16 or"
              + " F64");
    }
    return new ModelWeights(directory, names);
  }

  private static boolean isWeight(TensorEntry entry) {
    return entry.shape().length() >= 2
        && entry.elements() > 0
        && entry.type().dtype().map(DType::isNormType).orElse(false);
  }

  @Override
  public int count() {
    return names.size();
  }

  @Override
  public String name(int index) {
    return names.get(index);
  }

  @Override
  public TensorView get(int index, Arena arena) throws IOException {
    TensorView view = directory.view(names.get(index));
    TensorView matrix = view.reshape(view.rows(1), view.size(-1));
    return matrix.dtype() == DType.FLOAT64 ? arena.converted(matrix, DType.FLOAT32) : matrix;
  }

  @Override
  public void close() throws IOException {
    directory.close();
  }
}
