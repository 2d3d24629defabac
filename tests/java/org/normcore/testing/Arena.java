package org.normcore.testing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import org.normcore.DType;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;

/**
 * The tensors of a test. Each is in its own block between two guards, and all memory is filled with
 * a pattern, so that a write out of bounds is detected.
 */
public final class Arena implements AutoCloseable {
  private static final int GUARD = 64;
  private static final byte PATTERN = (byte) 0xA5;

  private record Block(NativeBuffer buffer, TensorView view) {}

  private final List<Block> blocks = new ArrayList<>();

  /** Returns a contiguous tensor, aligned to 64 bytes and filled with the pattern. */
  public TensorView tensor(DType dtype, long... shape) {
    return tensor(0, 0, dtype, shape);
  }

  /** Returns a contiguous tensor with the given contents, rounded to the dtype. */
  public TensorView tensor(DType dtype, double[] contents, long... shape) {
    return tensor(dtype, shape).copyFrom(contents);
  }

  /**
   * Returns a tensor that starts {@code misalignment} bytes after an aligned address and has {@code
   * gap} elements between its rows.
   */
  public TensorView tensor(int misalignment, long gap, DType dtype, long... shape) {
    long rows = 1;
    for (int i = 0; i < shape.length - 1; i++) {
      rows *= shape[i];
    }
    long stride = shape[shape.length - 1] + gap;
    long bytes = GUARD + misalignment + rows * stride * dtype.bytes() + GUARD;
    NativeBuffer buffer = NativeBuffer.allocate(bytes);
    ByteBuffer memory = buffer.asByteBuffer();
    while (memory.hasRemaining()) {
      memory.put(PATTERN);
    }
    TensorView view = buffer.view(GUARD + misalignment, dtype, shape);
    if (gap > 0) {
      view = view.withRowStride(stride);
    }
    blocks.add(new Block(buffer, view));
    return view;
  }

  /** Fails if a guard or a gap between rows has been written. */
  public void assertGuards() {
    for (Block block : blocks) {
      TensorView view = block.view;
      ByteBuffer memory = block.buffer.asByteBuffer();
      long rowLength = view.size(-1) * view.dtype().bytes();
      long rowStride = view.rowStride() * view.dtype().bytes();
      long begin = view.address() - block.buffer.address();
      long end = begin + view.elements() / Math.max(1, view.size(-1)) * rowStride;
      for (long at = 0; at < memory.capacity(); at++) {
        boolean inside = at >= begin && at < end && (at - begin) % rowStride < rowLength;
        if (!inside && memory.get((int) at) != PATTERN) {
          assertEquals(PATTERN, memory.get((int) at), "byte " + (at - begin) + " of " + view);
        }
      }
    }
  }

  /** Returns all memory, each block with its guards, as tensors of bytes. */
  List<TensorView> blocks() {
    return blocks.stream()
        .map(block -> block.buffer.view(DType.FLOAT8_E4M3, block.buffer.bytes()))
        .toList();
  }

  /** Returns a snapshot of all memory for a later comparison. */
  public List<byte[]> snapshot() {
    List<byte[]> all = new ArrayList<>();
    for (Block block : blocks) {
      byte[] bytes = new byte[(int) block.buffer.bytes()];
      block.buffer.asByteBuffer().get(bytes);
      all.add(bytes);
    }
    return all;
  }

  /** Fails if any memory differs from the snapshot. */
  public void assertUnchanged(List<byte[]> before, String what) {
    List<byte[]> after = snapshot();
    for (int i = 0; i < before.size(); i++) {
      assertArrayEquals(before.get(i), after.get(i), what + " wrote to " + blocks.get(i).view);
    }
  }

  @Override
  public void close() {
    blocks.forEach(block -> block.buffer.close());
  }
}
