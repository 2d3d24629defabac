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
      "Reads x [.., N] and, where the file has them, weight, bias, residual, dy and dresidual (the gradient that reaches"
          + " residual_out). Writes y and the saved statistics; residual_out with a residual; and with dy the gradients"
          + " dx, dweight and dbias. Of an FP8 y also y_scale_inv, by which it is multiplied to get back the values, and"
          + " with one scale for all of it y_amax. Nothing is written unless all of it succeeded.",
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
