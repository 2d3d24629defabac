package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.ModelType;
import org.normcore.NormKind;
import org.normcore.TensorView;
import org.normcore.cli.BadInput;
import org.normcore.cli.safetensors.SafetensorsDirectory;
import org.normcore.cli.safetensors.SafetensorsFile;

/** The norms of a model's directory, with drawn or recorded hidden states. */
final class ModelNorms implements SubjectSource {
  private final ModelConfig config;
  private final SafetensorsDirectory weights;
  private final Optional<SafetensorsFile> activations;
  private final ImmutableList<NormModule> modules;
  private final Gaussian gaussian;
  private final long rows;

  private ModelNorms(
      ModelConfig config,
      SafetensorsDirectory weights,
      Optional<SafetensorsFile> activations,
      Gaussian gaussian,
      long rows) {
    this.config = config;
    this.weights = weights;
    this.activations = activations;
    this.modules = NormFinder.find(weights.entries());
    this.gaussian = gaussian;
    this.rows = rows;
  }

  static ModelNorms open(Path directory, Optional<Path> activations, Gaussian gaussian, long rows)
      throws IOException {
    if (!Files.isDirectory(directory)) {
      throw new BadInput(
          directory + ": is not a directory, expected one with config.json and *.safetensors");
    }
    ModelConfig config = ModelConfig.read(directory);
    SafetensorsDirectory weights = SafetensorsDirectory.open(directory);
    Optional<SafetensorsFile> recorded = Optional.empty();
    try {
      if (activations.isPresent()) {
        recorded = Optional.of(SafetensorsFile.open(activations.get()));
      }
      ModelNorms norms = new ModelNorms(config, weights, recorded, gaussian, rows);
      norms.check(directory, activations);
      return norms;
    } catch (IOException | RuntimeException e) {
      close(weights, recorded);
      throw e;
    }
  }

  private void check(Path directory, Optional<Path> path) {
    if (modules.isEmpty()) {
      throw new BadInput(
          directory
              + ": has no norm weights, that is one-dimensional floating-point tensors of modules named like norms");
    }
    if (activations.isPresent()
        && modules.stream().noneMatch(module -> hasRecorded(module.name() + ".x"))) {
      throw new BadInput(
          path.get()
              + ": holds no hidden states of the model's norms, such as "
              + modules.get(0).name()
              + ".x");
    }
  }

  ModelConfig config() {
    return config;
  }

  /** The type that the weights are stored in. */
  DType storedDType() {
    return weights.entries().get(modules.get(0).weight()).type().dtype().orElseThrow();
  }

  /**
   * Which norm the model's norms are: as its family is known to have, else guessed from whether
   * there are biases.
   */
  NormKind kind() {
    boolean hasBias = modules.stream().anyMatch(module -> module.bias().isPresent());
    return config
        .family()
        .map(ModelType::norm)
        .orElse(hasBias ? NormKind.LAYER_NORM : NormKind.RMS_NORM);
  }

  @Override
  public int count() {
    return modules.size();
  }

  @Override
  public Subject get(int index, Arena arena) throws IOException {
    NormModule module = modules.get(index);
    TensorView weight = weights.view(module.weight());
    Optional<TensorView> bias =
        module.bias().isPresent()
            ? Optional.of(weights.view(module.bias().get()))
            : Optional.empty();
    String xName = module.name() + ".x";
    String yName = module.name() + ".y";
    boolean recorded = hasRecorded(xName);
    TensorView x = recorded ? recorded(xName, module) : drawn(module, arena);
    Optional<TensorView> y =
        recorded && hasRecorded(yName) ? Optional.of(recorded(yName, module)) : Optional.empty();
    if (y.isPresent() && y.get().size(0) != x.size(0)) {
      throw new BadInput(
          yName
              + " has "
              + y.get().size(0)
              + " rows, expected "
              + x.size(0)
              + " as "
              + xName
              + " has");
    }
    return new Subject(module.name(), kind(), config.epsilon(), weight, bias, x, !recorded, y);
  }

  private TensorView drawn(NormModule module, Arena arena) {
    int count = Arena.count(rows, module.hiddenSize());
    return arena.of(
        gaussian.draw(module.name() + ".x", count), DType.FLOAT32, rows, module.hiddenSize());
  }

  private boolean hasRecorded(String name) {
    return activations.isPresent() && activations.get().entries().containsKey(name);
  }

  private TensorView recorded(String name, NormModule module) throws IOException {
    TensorView view = activations.orElseThrow().view(name);
    if (view.rank() == 0 || view.size(-1) != module.hiddenSize()) {
      throw new BadInput(
          name
              + ": normalized shape ["
              + module.hiddenSize()
              + "] expected a tensor of shape [*, "
              + module.hiddenSize()
              + "], got "
              + Arrays.toString(view.shape()));
    }
    Arena.count(view.rows(1), module.hiddenSize());
    return view.reshape(view.rows(1), module.hiddenSize());
  }

  @Override
  public void close() throws IOException {
    close(weights, activations);
  }

  private static void close(SafetensorsDirectory weights, Optional<SafetensorsFile> activations)
      throws IOException {
    weights.close();
    if (activations.isPresent()) {
      activations.get().close();
    }
  }
}
