package org.normcore.cli.bench;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.HeadsView;
import org.normcore.Rotary;
import org.normcore.RotaryLayout;
import org.normcore.RotaryRounding;
import org.normcore.RotarySpec;
import org.normcore.RotaryTable;
import org.normcore.cli.BadInput;

/** Rotary position embedding: a row is a token, its heads have 128 elements where that fits. */
final class RotaryWork implements BenchWork {
  private static final long HEAD_DIM = 128;

  private record Pair(WorkTensors tensors, HeadsView x, HeadsView y) {}

  private final List<Pair> pairs = new ArrayList<>();
  private final Rotary rotary;
  private final Rotary alone;
  private final RotaryTable table;
  private final @Nullable CudaStream stream;
  private final long bytes;

  RotaryWork(
      DType dtype,
      long rows,
      long hiddenSize,
      Device device,
      @Nullable CudaStream stream,
      int threads,
      int sets) {
    long headDim = hiddenSize % HEAD_DIM == 0 ? HEAD_DIM : hiddenSize;
    if (headDim % 2 != 0 || headDim > RotarySpec.MAX_HEAD_DIM) {
      throw new BadInput(
          "--hidden is "
              + hiddenSize
              + ", expected for rotary a multiple of "
              + HEAD_DIM
              + ", or an even number up to "
              + RotarySpec.MAX_HEAD_DIM);
    }
    this.stream = stream;
    this.bytes = 2 * rows * hiddenSize * dtype.bytes();
    RotarySpec spec = RotarySpec.builder((int) headDim).build();
    this.rotary = op(spec, dtype, device, threads);
    this.alone = op(spec, dtype, device, 1);
    this.table = RotaryTable.builder(spec).dtype(dtype).device(device).range(0, rows);
    for (int i = 0; i < sets; i++) {
      WorkTensors tensors = new WorkTensors(device, stream, dtype, rows, hiddenSize);
      long[] shape = {1, rows, hiddenSize / headDim, headDim};
      pairs.add(
          new Pair(
              tensors,
              HeadsView.of(tensors.x().reshape(shape)),
              HeadsView.of(tensors.y().reshape(shape))));
    }
  }

  private static Rotary op(RotarySpec spec, DType dtype, Device device, int threads) {
    return Rotary.builder(spec)
        .dtype(dtype)
        .tableDType(dtype)
        .layout(RotaryLayout.HALF_SPLIT)
        .rounding(RotaryRounding.COMPUTE)
        .device(device)
        .threads(threads)
        .build();
  }

  @Override
  public List<Call> calls() {
    RotaryTable first = table.slice(0, 1);
    HeadsView x = pairs.get(0).x.tokens(0, 1);
    HeadsView y = pairs.get(0).y.tokens(0, 1);
    return List.of(
        new Call(
            "forward",
            bytes,
            i -> rotary.forward(table, pairs.get(i).x, pairs.get(i).y, stream),
            () -> alone.forward(table, pairs.get(0).x, pairs.get(0).y, stream),
            () -> alone.forward(first, x, y, stream)),
        new Call(
            "backward",
            bytes,
            i -> rotary.backward(table, pairs.get(i).x, pairs.get(i).y, stream),
            () -> alone.backward(table, pairs.get(0).x, pairs.get(0).y, stream),
            () -> alone.backward(first, x, y, stream)));
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
    pairs.forEach(pair -> pair.tensors.close());
    table.close();
    rotary.close();
    alone.close();
  }
}
