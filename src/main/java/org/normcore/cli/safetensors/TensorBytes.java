package org.normcore.cli.safetensors;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.file.Path;
import org.bytedeco.javacpp.BytePointer;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.NativeBuffer;
import org.normcore.TensorView;
import org.normcore.internal.Memory;

/** Tensor elements that a file stores in their memory format. */
public final class TensorBytes {
  private static final int LARGEST_PIECE = 1 << 28;

  private TensorBytes() {}

  /**
   * A read-only view of an entry's bytes: mapped, or read if they exceed one mapping. It stays
   * valid after the channel is closed.
   *
   * @param file the file, for messages
   * @param channel the open file
   * @param entry the byte range in the file
   * @param dtype their type
   */
  public static TensorView view(Path file, FileChannel channel, TensorEntry entry, DType dtype)
      throws IOException {
    boolean mappable = entry.bytes() > 0 && entry.bytes() <= Integer.MAX_VALUE;
    return mappable ? map(channel, entry, dtype) : load(file, channel, entry, dtype);
  }

  private static TensorView map(FileChannel channel, TensorEntry entry, DType dtype)
      throws IOException {
    ByteBuffer mapping = channel.map(MapMode.READ_ONLY, entry.begin(), entry.bytes());
    BytePointer pointer = new BytePointer(mapping);
    return TensorView.ofAddress(pointer.address(), dtype, Device.CPU, entry.shape().toArray())
        .withOwner(mapping);
  }

  private static TensorView load(Path file, FileChannel channel, TensorEntry entry, DType dtype)
      throws IOException {
    NativeBuffer memory = NativeBuffer.allocate(entry.bytes());
    for (long done = 0; done < entry.bytes(); ) {
      int piece = (int) Math.min(entry.bytes() - done, LARGEST_PIECE);
      ByteBuffer target = Memory.byteBuffer(memory.address() + done, piece);
      while (target.hasRemaining()) {
        if (channel.read(target, entry.begin() + done + target.position()) < 0) {
          throw new SafetensorsException(file, "became shorter while it was read");
        }
      }
      done += piece;
    }
    return memory.view(dtype, entry.shape().toArray());
  }
}
