package org.normcore.cli.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import org.jspecify.annotations.Nullable;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Fp8Parameter;
import org.normcore.Fp8Spec;
import org.normcore.TensorView;

/** Quantising to E4M3 with a given scale, in the calling thread on the CPU, and back. */
final class Fp8Work implements BenchWork {
  private record Pair(WorkTensors tensors, Fp8Parameter parameter) {}

  private final List<Pair> pairs = new ArrayList<>();
  private final Fp8Parameter one;
  private final @Nullable CudaStream stream;
  private final long bytes;

  Fp8Work(
      DType dtype,
      long rows,
      long hiddenSize,
      Device device,
      @Nullable CudaStream stream,
      int sets) {
    this.stream = stream;
    this.bytes = rows * hiddenSize * (dtype.bytes() + DType.FLOAT8_E4M3.bytes());
    Fp8Spec spec = Fp8Spec.builder(DType.FLOAT8_E4M3).givenScale(64).build();
    for (int i = 0; i < sets; i++) {
      WorkTensors tensors = new WorkTensors(device, stream, dtype, rows, hiddenSize);
      pairs.add(new Pair(tensors, Fp8Parameter.quantize(tensors.x(), spec, null, device, stream)));
    }
    this.one =
        Fp8Parameter.quantize(pairs.get(0).tensors.x().rows(0, 1), spec, null, device, stream);
  }

  @Override
  public List<Call> calls() {
    TensorView x = pairs.get(0).tensors.x().rows(0, 1);
    TensorView y = pairs.get(0).tensors.y().rows(0, 1);
    IntConsumer quantize =
        i -> pairs.get(i).parameter.update(pairs.get(i).tensors.x(), null, stream);
    IntConsumer dequantize =
        i -> pairs.get(i).parameter.dequantize(pairs.get(i).tensors.y(), stream);
    return List.of(
        new Call(
            "quantize",
            bytes,
            quantize,
            () -> quantize.accept(0),
            () -> one.update(x, null, stream)),
        new Call(
            "dequantize",
            bytes,
            dequantize,
            () -> dequantize.accept(0),
            () -> one.dequantize(y, stream)));
  }

  @Override
  public WorkTensors tensors() {
    return pairs.get(0).tensors;
  }

  @Override
  public void copy(int set) {
    pairs.get(set).tensors.copy(stream);
  }

  @Override
  public void close() {
    one.close();
    for (Pair pair : pairs) {
      pair.parameter.close();
      pair.tensors.close();
    }
  }
}
