package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.file.Path;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.TensorEntry;
import org.normcore.cli.safetensors.TensorSource;

/** The weights of a model: its tensors of two or more dimensions. */
final class ModelWeights implements Fp8Source {
  private final TensorSource tensors;
  private final ImmutableList<String> names;

  private ModelWeights(TensorSource tensors, ImmutableList<String> names) {
    this.tensors = tensors;
    this.names = names;
  }

  static ModelWeights open(Path path) throws IOException {
    TensorSource tensors = ModelFiles.of(path).open();
    ImmutableList<String> names =
        tensors.entries().values().stream()
            .filter(ModelWeights::isWeight)
            .map(TensorEntry::name)
            .collect(ImmutableList.toImmutableList());
    if (names.isEmpty()) {
      tensors.close();
      throw new BadInput(
          path
              + ": has no weights: no tensors of two or more dimensions in F32, BF16, F16 or"
              + " F64");
    }
    return new ModelWeights(tensors, names);
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
    TensorView view = tensors.view(names.get(index));
    TensorView matrix = view.reshape(view.rows(1), view.size(-1));
    return matrix.dtype() == DType.FLOAT64 ? arena.converted(matrix, DType.FLOAT32) : matrix;
  }

  @Override
  public void close() throws IOException {
    tensors.close();
  }
}
