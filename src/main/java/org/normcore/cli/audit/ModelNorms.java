package org.normcore.cli.audit;

import com.google.common.collect.ImmutableList;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.ModelType;
import org.normcore.NormKind;
import org.normcore.TensorView;
import org.normcore.cli.BadInput;
import org.normcore.cli.onnx.OnnxFile;
import org.normcore.cli.safetensors.SafetensorsFile;
import org.normcore.cli.safetensors.TensorSource;

/** The norms of a model, with random or recorded hidden states. */
final class ModelNorms implements NormCaseSource {
  private final ModelConfig config;
  private final TensorSource weights;
  private final Optional<SafetensorsFile> activations;
  private final ImmutableList<ModelNorm> norms;
  private final boolean graph;
  private final Gaussian gaussian;
  private final long rows;

  private ModelNorms(
      ModelConfig config,
      TensorSource weights,
      ImmutableList<ModelNorm> norms,
      Optional<SafetensorsFile> activations,
      Gaussian gaussian,
      long rows) {
    this.config = config;
    this.weights = weights;
    this.activations = activations;
    this.norms = norms;
    this.graph = weights instanceof OnnxFile;
    this.gaussian = gaussian;
    this.rows = rows;
  }

  static ModelNorms open(Path model, Optional<Path> activations, Gaussian gaussian, long rows)
      throws IOException {
    ModelFiles files = ModelFiles.of(model);
    ModelConfig config = files.config();
    TensorSource weights = files.open();
    Optional<SafetensorsFile> recorded = Optional.empty();
    try {
      if (activations.isPresent()) {
        recorded = Optional.of(SafetensorsFile.open(activations.get()));
      }
      ImmutableList<ModelNorm> found =
          weights instanceof OnnxFile onnx ? OnnxNormFinder.find(onnx) : named(weights, config);
      ModelNorms norms = new ModelNorms(config, weights, found, recorded, gaussian, rows);
      norms.check(model, activations);
      return norms;
    } catch (IOException | RuntimeException e) {
      close(weights, recorded);
      throw e;
    }
  }

  /**
   * The norms by their names. The family determines their kind; for an unknown family, a bias
   * indicates a LayerNorm.
   */
  private static ImmutableList<ModelNorm> named(TensorSource weights, ModelConfig config) {
    ImmutableList<NormModule> modules = NormFinder.find(weights.entries());
    boolean hasBias = modules.stream().anyMatch(module -> module.bias().isPresent());
    NormKind kind =
        config
            .family()
            .map(ModelType::norm)
            .orElse(hasBias ? NormKind.LAYER_NORM : NormKind.RMS_NORM);
    double epsilon = config.epsilon();
    return modules.stream()
        .map(module -> new ModelNorm(module, kind, epsilon, Optional.empty()))
        .collect(ImmutableList.toImmutableList());
  }

  private void check(Path model, Optional<Path> path) {
    if (norms.isEmpty()) {
      throw new BadInput(
          model
              + (graph
                  ? ": has no norms in its graph: no nodes LayerNormalization,"
                      + " SimplifiedLayerNormalization, RMSNormalization or the like, or ReduceMean,"
                      + " Pow, Add, Sqrt, Div and Mul in sequence, with constant weights"
                  : ": has no norm weights: no one-dimensional floating-point tensors of"
                      + " modules with the name of a norm"));
    }
    if (activations.isPresent()
        && norms.stream().noneMatch(norm -> hasRecorded(norm.module().name() + ".x"))) {
      throw new BadInput(
          path.get()
              + ": holds no hidden states of the model's norms, such as "
              + norms.get(0).module().name()
              + ".x");
    }
  }

  ModelConfig config() {
    return config;
  }

  /** The facts about the model. */
  ModelFacts facts(Path model) {
    return new ModelFacts(model, config.modelType(), config.family(), graph, norms);
  }

  /**
   * The computation type of the model: that of its configuration. For a graph, and for a model
   * without a configuration, the stored type of the weights.
   */
  DType ownDType() {
    DType stored =
        weights.entries().get(norms.get(0).module().weight()).type().dtype().orElseThrow();
    return graph ? stored : config.dtype().orElse(stored);
  }

  @Override
  public int count() {
    return norms.size();
  }

  @Override
  public NormCase get(int index, Arena arena) throws IOException {
    ModelNorm norm = norms.get(index);
    NormModule module = norm.module();
    TensorView weight = vector(module.weight(), module);
    Optional<TensorView> bias =
        module.bias().isPresent()
            ? Optional.of(vector(module.bias().get(), module))
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
    return new NormCase(module.name(), norm.kind(), norm.epsilon(), weight, bias, x, !recorded, y);
  }

  /** A parameter of a norm, which may have several dimensions in a graph. */
  private TensorView vector(String name, NormModule module) throws IOException {
    return weights.view(name).reshape(module.hiddenSize());
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

  private static void close(TensorSource weights, Optional<SafetensorsFile> activations)
      throws IOException {
    weights.close();
    if (activations.isPresent()) {
      activations.get().close();
    }
  }
}
