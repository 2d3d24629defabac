package org.normcore.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import org.normcore.RotaryTable;
import org.normcore.TensorView;
import org.normcore.cli.safetensors.SafetensorsFile;
import org.normcore.cli.safetensors.StoredType;
import org.normcore.cli.safetensors.TensorEntry;

/** The tensors that {@code apply rotary} reads, by name. */
record RotaryInputs(
    TensorView q,
    TensorView k,
    long[] positions,
    boolean positionsOfEachBatch,
    Optional<TensorView> dq,
    Optional<TensorView> dk) {

  static RotaryInputs read(Path path, SafetensorsFile file) throws IOException {
    TensorView q = heads(path, file, "q");
    TensorView k = heads(path, file, "k");
    if (k.size(0) != q.size(0) || k.size(1) != q.size(1)) {
      throw new BadInput(
          path
              + ": k is "
              + Arrays.toString(k.shape())
              + ", expected the batch and seq of q, "
              + Arrays.toString(q.shape()));
    }
    requireDType(path, "k", k, q);
    if (k.size(3) != q.size(3)) {
      throw new BadInput(
          path + ": head_dim of k is " + k.size(3) + ", expected that of q, " + q.size(3));
    }
    long[] shape = positionShape(path, file, q);
    long[] positions = file.integers("positions");
    for (int i = 0; i < positions.length; i++) {
      if (positions[i] < 0 || positions[i] > RotaryTable.MAX_POSITION) {
        int seq = (int) q.size(1);
        throw new BadInput(
            path
                + ": positions"
                + (shape.length == 1 ? "[" + i + "]" : "[" + i / seq + "][" + i % seq + "]")
                + " is "
                + positions[i]
                + ", expected 0 to 2^40");
      }
    }
    return new RotaryInputs(
        q,
        k,
        positions,
        shape.length == 2,
        gradient(path, file, "dq", q),
        gradient(path, file, "dk", k));
  }

  private static TensorView heads(Path path, SafetensorsFile file, String name) throws IOException {
    TensorView view = InputTypes.view(path, file, name);
    if (view.rank() != 4) {
      throw new BadInput(
          path
              + ": "
              + name
              + " has the shape "
              + Arrays.toString(view.shape())
              + ", expected [batch, seq, heads, dim]");
    }
    return view;
  }

  private static Optional<TensorView> gradient(
      Path path, SafetensorsFile file, String name, TensorView of) throws IOException {
    if (!file.entries().containsKey(name)) {
      return Optional.empty();
    }
    TensorView view = file.view(name);
    if (!Arrays.equals(view.shape(), of.shape())) {
      throw new BadInput(
          path
              + ": "
              + name
              + " has the shape "
              + Arrays.toString(view.shape())
              + ", expected "
              + Arrays.toString(of.shape())
              + ", the shape of the tensor whose gradient it is");
    }
    requireDType(path, name, view, of);
    return Optional.of(view);
  }

  private static void requireDType(Path path, String name, TensorView view, TensorView q) {
    if (view.dtype() != q.dtype()) {
      throw new BadInput(
          path
              + ": "
              + name
              + " is "
              + view.dtype().safetensorsName()
              + ", expected "
              + q.dtype().safetensorsName()
              + ", as q is");
    }
  }

  private static long[] positionShape(Path path, SafetensorsFile file, TensorView q) {
    TensorEntry entry = file.entries().get("positions");
    if (entry == null) {
      throw new BadInput(path + ": has no tensor \"positions\"");
    }
    if (entry.type().dtype().isPresent()) {
      throw new BadInput(
          path
              + ": positions is "
              + entry.type()
              + ", expected I64 or I32: positions are integers, which floating-point types represent exactly only"
              + " up to a limit (BF16 up to 256, F16 up to 2048); beyond it adjacent positions would"
              + " coincide");
    }
    if (entry.type() != StoredType.I64 && entry.type() != StoredType.I32) {
      throw new BadInput(path + ": positions is " + entry.type() + ", expected I64 or I32");
    }
    long[] shape = entry.shape().toArray();
    boolean ofAll = Arrays.equals(shape, new long[] {q.size(1)});
    if (!ofAll && !Arrays.equals(shape, new long[] {q.size(0), q.size(1)})) {
      throw new BadInput(
          path
              + ": positions has the shape "
              + Arrays.toString(shape)
              + ", expected ["
              + q.size(1)
              + "] or ["
              + q.size(0)
              + ", "
              + q.size(1)
              + "], as q has tokens");
    }
    return shape;
  }
}
