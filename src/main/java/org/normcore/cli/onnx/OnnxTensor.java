package org.normcore.cli.onnx;

import java.util.Optional;
import org.normcore.cli.safetensors.TensorEntry;

/**
 * A tensor, and where its data lies.
 *
 * @param entry its name, type, shape, and where its bytes are: in the model's file or, for external
 *     data, in that file; for coded data only their number says something
 * @param external the file beside the model's that holds the bytes
 * @param coded whether the data is in fields of its own, element by element, and has to be decoded
 * @param begin where the tensor's message begins in the model's file
 * @param end where it ends
 */
record OnnxTensor(
    TensorEntry entry, Optional<String> external, boolean coded, long begin, long end) {

  /** The same under another name. */
  OnnxTensor named(String name) {
    TensorEntry renamed =
        new TensorEntry(name, entry.type(), entry.shape(), entry.begin(), entry.end());
    return new OnnxTensor(renamed, external, coded, begin, end);
  }
}
