package org.normcore.cli.onnx;

import java.util.Optional;
import org.normcore.cli.safetensors.TensorEntry;

/**
 * A tensor and the location of its data.
 *
 * @param entry its name, type, shape and byte range, in the model's file or, for external data, in
 *     that file; for coded data only the length of the range is meaningful
 * @param external the external file that holds the bytes
 * @param coded whether the data is in typed fields, element by element, and must be decoded
 * @param begin the first byte of the tensor's message in the model's file
 * @param end one past its last byte
 */
record OnnxTensor(
    TensorEntry entry, Optional<String> external, boolean coded, long begin, long end) {

  /** Returns the same tensor with another name. */
  OnnxTensor named(String name) {
    TensorEntry renamed =
        new TensorEntry(name, entry.type(), entry.shape(), entry.begin(), entry.end());
    return new OnnxTensor(renamed, external, coded, begin, end);
  }
}
