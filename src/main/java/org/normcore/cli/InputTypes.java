package org.normcore.cli;

import java.io.IOException;
import java.nio.file.Path;
import org.normcore.DType;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;

/** The input types of rotary embedding and FP8. */
final class InputTypes {
  private InputTypes() {}

  /** Whether a type is float32, bfloat16 or float16. */
  static boolean isNarrow(DType dtype) {
    return dtype.isNormType() && dtype != DType.FLOAT64;
  }

  /** Reads a tensor of such a type. */
  static TensorView view(Path path, SafetensorsFile file, String name) throws IOException {
    TensorView view = file.view(name);
    if (!isNarrow(view.dtype())) {
      throw new BadInput(
          path
              + ": "
              + name
              + " is "
              + view.dtype().safetensorsName()
              + ", expected F32, BF16 or F16");
    }
    return view;
  }
}
