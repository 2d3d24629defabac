package org.normcore.testing;

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.normcore.CudaBuffer;
import org.normcore.CudaStream;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.TensorView;

/**
 * A copy of an arena's memory on a CUDA device, including guards and gaps, with each tensor at the
 * same offset from an aligned address. Copies transfer all of it, so the host detects a kernel's
 * writes out of bounds.
 */
public final class Mirror implements AutoCloseable, UnaryOperator<TensorView> {
  private record Pair(TensorView host, CudaBuffer remote) {}

  private final List<Pair> pairs = new ArrayList<>();

  /** Allocates the memory without copying. */
  public Mirror(Arena arena, Device device) {
    for (TensorView block : arena.blocks()) {
      pairs.add(new Pair(block, CudaBuffer.allocate(device, block.elements())));
    }
  }

  /** Returns the device tensor that corresponds to a tensor of the arena; null for null. */
  @Override
  public TensorView apply(TensorView host) {
    if (host == null) {
      return null;
    }
    for (Pair pair : pairs) {
      long offset = host.address() - pair.host.address();
      if (offset >= 0 && offset < pair.host.elements()) {
        return pair.remote.view(offset, host.dtype(), host.shape()).withRowStride(host.rowStride());
      }
    }
    throw new IllegalArgumentException(host + " is not of the arena");
  }

  /** Copies everything to the device and waits. */
  public void upload(CudaStream stream) {
    for (Pair pair : pairs) {
      bytes(pair).copyFrom(pair.host, stream);
    }
    stream.synchronize();
  }

  /** Copies everything to the host and waits. */
  public void download(CudaStream stream) {
    for (Pair pair : pairs) {
      pair.host.copyFrom(bytes(pair), stream);
    }
    stream.synchronize();
  }

  private static TensorView bytes(Pair pair) {
    return pair.remote.view(DType.FLOAT8_E4M3, pair.host.elements());
  }

  @Override
  public void close() {
    pairs.forEach(pair -> pair.remote.close());
  }
}
