package org.normcore.cli.bench;

import java.util.Random;
import org.jspecify.annotations.Nullable;
import org.normcore.CudaBuffer;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.NativeBuffer;
import org.normcore.OwnedMemory;
import org.normcore.TensorView;

/** An input with random contents and an output, on a device; freed together. */
final class WorkTensors implements AutoCloseable {
  private final OwnedMemory from;
  private final OwnedMemory to;
  private final TensorView x;
  private final TensorView y;

  WorkTensors(Device device, @Nullable CudaStream stream, DType dtype, long rows, long hiddenSize) {
    this.from = allocate(device, dtype, rows, hiddenSize);
    this.to = allocate(device, dtype, rows, hiddenSize);
    this.x = from.view(dtype, rows, hiddenSize);
    this.y = to.view(dtype, rows, hiddenSize);
    if (stream == null) {
      BenchTensors.fill(new Random(1), x);
      return;
    }
    try (NativeBuffer host = NativeBuffer.allocate(dtype, rows, hiddenSize)) {
      TensorView drawn = host.view(dtype, rows, hiddenSize);
      BenchTensors.fill(new Random(1), drawn);
      x.copyFrom(drawn, stream);
      stream.synchronize();
    }
  }

  private static OwnedMemory allocate(Device device, DType dtype, long... shape) {
    return device.isCpu()
        ? NativeBuffer.allocate(dtype, shape)
        : CudaBuffer.allocate(device, dtype, shape);
  }

  TensorView x() {
    return x;
  }

  TensorView y() {
    return y;
  }

  void copy(@Nullable CudaStream stream) {
    if (stream == null) {
      y.copyFrom(x);
    } else {
      y.copyFrom(x, stream);
    }
  }

  @Override
  public void close() {
    from.close();
    to.close();
  }
}
