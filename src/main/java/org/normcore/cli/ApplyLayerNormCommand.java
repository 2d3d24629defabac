package org.normcore.cli;

import java.io.IOException;
import java.util.concurrent.Callable;
import org.normcore.NormKind;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** Runs LayerNorm on the tensors of a file. */
@Command(
    name = "layer-norm",
    sortOptions = false,
    description = {
      "Run LayerNorm on the tensors of a safetensors file.",
      "",
      "Reads x [.., N] and, if the file has them, weight, bias, residual, dy and dresidual (the gradient of"
          + " residual_out). Writes y and the saved statistics; residual_out with a residual; and with dy the gradients"
          + " dx, dweight and dbias. For an FP8 y it also writes y_scale_inv, the factor that dequantises y, and"
          + " with --output-scaling tensor y_amax. Writes nothing if an error occurs.",
      ""
    })
public final class ApplyLayerNormCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private ApplyOptions options;

  @Override
  public Integer call() throws IOException {
    return new NormApplication(Context.of(spec), NormKind.LAYER_NORM, options).run();
  }
}
