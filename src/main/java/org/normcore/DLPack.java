package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.nio.ByteBuffer;
import java.nio.LongBuffer;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.normcore.internal.Capi;
import org.normcore.internal.DLPackCapi;
import org.normcore.internal.Memory;

/**
 * Exchanges tensors with other libraries without a copy, through the C structures of DLPack: {@code
 * DLManagedTensor}, and {@code DLManagedTensorVersioned} of version 1. A structure is passed by its
 * address.
 *
 * <pre>{@code
 * try (DLPackTensor theirs = DLPack.importTensor(address)) {
 *   norm.infer(theirs.tensor(), weight, y);
 * } // close() has called their deleter
 *
 * long ours = DLPack.exportTensor(y); // for a consumer, which calls our deleter
 * }</pre>
 *
 * <p>Ownership. A successful import takes ownership of the structure; after a failed one the caller
 * still owns it. The caller must not import the same structure elsewhere, nor delete it. An export
 * keeps the tensor's memory alive and open until the consumer calls the deleter in the structure:
 * until then, closing the {@link NativeBuffer}, {@link CudaBuffer} or {@link DLPackTensor} that
 * owns the memory throws. {@link #discard} frees an export that has no consumer.
 *
 * <p>Threads. All methods are thread-safe. A consumer may call the deleter of an export from any
 * thread, attached to the JVM or not, but not after the JVM has exited.
 *
 * <p>CUDA. Nothing is synchronised, as everywhere in DLPack's C interface: producer and consumer
 * use one stream, or the caller synchronises the producer's stream first.
 *
 * <p>Device types: CPU, CUDA, page-locked host memory (a CPU tensor here) and CUDA managed memory
 * (a tensor of its CUDA device here). Dtypes: those of {@link DType}. Shapes of up to 64
 * dimensions; absent strides mean a contiguous tensor. As in {@link TensorView}, the elements of a
 * row are contiguous and all rows have one stride.
 */
public final class DLPack {
  private static final int VERSION_MAJOR = 1;

  /** The first minor version with FP8. */
  private static final int VERSION_MINOR = 1;

  private static final int MAX_DIMENSIONS = 64;

  private static final int CPU = 1;
  private static final int CUDA = 2;
  private static final int CUDA_HOST = 3;
  private static final int CUDA_MANAGED = 13;

  private static final long READ_ONLY = 1;

  /** Exports that consumers hold, by the address of the structure. */
  private static final Map<Long, Export> EXPORTS = new ConcurrentHashMap<>();

  /** Imported structures that are not yet deleted. */
  private static final Set<Long> IMPORTS = ConcurrentHashMap.newKeySet();

  private DLPack() {}

  /**
   * Imports the {@code DLManagedTensor} at an address and takes ownership of it.
   *
   * @return the tensor; the caller must close it, which calls the deleter
   * @throws IllegalArgumentException if the address is 0 or has been imported and not closed; if
   *     the tensor has an unknown device type or dtype, {@code lanes} other than 1, rows that are
   *     not contiguous or have no common stride, or no memory. The caller then still owns the
   *     structure
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static DLPackTensor importTensor(long address) {
    return take(Layout.UNVERSIONED, address);
  }

  /**
   * Imports the {@code DLManagedTensorVersioned} at an address and takes ownership of it. If it is
   * marked read-only, calls that would write to the tensor throw.
   *
   * @return the tensor; the caller must close it, which calls the deleter
   * @throws IllegalArgumentException as {@link #importTensor}, or if the major version is not 1.
   *     The caller then still owns the structure
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static DLPackTensor importVersioned(long address) {
    return take(Layout.VERSIONED, address);
  }

  /**
   * Exports a tensor as a {@code DLManagedTensor}, for one consumer.
   *
   * @return the structure's address
   * @throws IllegalArgumentException if the tensor is null, or its memory is closed or read-only,
   *     which this structure can't express
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static long exportTensor(TensorView tensor) {
    TensorView.required("tensor", tensor).requireWritable("tensor");
    return give(Layout.UNVERSIONED, tensor, 0);
  }

  /**
   * Exports a tensor as a {@code DLManagedTensorVersioned} of version 1.1, for one consumer. It is
   * marked read-only if the tensor's memory is read-only, for instance that of a read-only import.
   *
   * @return the structure's address
   * @throws IllegalArgumentException if the tensor is null or its memory closed
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static long exportVersioned(TensorView tensor) {
    boolean writable = TensorView.required("tensor", tensor).isWritable();
    return give(Layout.VERSIONED, tensor, writable ? 0 : READ_ONLY);
  }

  /**
   * Exports a tensor as {@link #exportVersioned} does, marked read-only.
   *
   * @return the structure's address
   * @throws IllegalArgumentException if the tensor is null or its memory closed
   * @throws UnsatisfiedLinkError if the native library can't be loaded
   */
  public static long exportReadOnly(TensorView tensor) {
    return give(Layout.VERSIONED, TensorView.required("tensor", tensor), READ_ONLY);
  }

  /**
   * Frees an export that has no consumer.
   *
   * @throws IllegalArgumentException if the export does not exist, or its deleter has been called
   */
  public static void discard(long exported) {
    checkArgument(
        delete(exported),
        "exported: 0x%s; expected the address of an export whose deleter has not been called",
        Long.toHexString(exported));
  }

  /** Records that an imported structure is returned to its producer. */
  static void unregister(long managed) {
    IMPORTS.remove(managed);
  }

  private static DLPackTensor take(Layout layout, long address) {
    checkArgument(address != 0, "address: 0; expected that of a %s", layout.structure);
    ByteBuffer fields = Memory.byteBuffer(address, layout.bytes);
    boolean readOnly = false;
    if (layout == Layout.VERSIONED) {
      int major = fields.getInt(0);
      checkArgument(
          major == VERSION_MAJOR,
          "version: %s.%s; expected major version %s",
          Integer.toUnsignedString(major),
          Integer.toUnsignedString(fields.getInt(4)),
          VERSION_MAJOR);
      readOnly = (fields.getLong(Layout.FLAGS) & READ_ONLY) != 0;
    }
    int at = layout.tensor;
    Device device = deviceOf(fields.getInt(at + Layout.DEVICE), fields.getInt(at + Layout.INDEX));
    DType dtype =
        dtypeOf(
            fields.get(at + Layout.CODE) & 0xff,
            fields.get(at + Layout.BITS) & 0xff,
            fields.getShort(at + Layout.LANES) & 0xffff);
    int rank = fields.getInt(at + Layout.RANK);
    checkArgument(
        0 <= rank && rank <= MAX_DIMENSIONS, "ndim: %s; expected 0 to %s", rank, MAX_DIMENSIONS);
    long shapeAddress = fields.getLong(at + Layout.SHAPE);
    long stridesAddress = fields.getLong(at + Layout.STRIDES);
    checkArgument(rank == 0 || shapeAddress != 0, "shape: null; expected %s sizes", rank);
    long[] shape = longs(shapeAddress, rank);
    long elements = Shapes.elements(dtype, shape);
    long data = fields.getLong(at + Layout.DATA);
    checkArgument(data != 0 || elements == 0, "data: null; expected %s elements", elements);
    long first = data + fields.getLong(at + Layout.BYTE_OFFSET);
    // Check everything before taking ownership.
    TensorView view =
        stridesAddress == 0
            ? TensorView.ofAddress(first, dtype, device, shape)
            : TensorView.ofStrided(first, dtype, device, shape, longs(stridesAddress, rank));
    long deleter = fields.getLong(layout.deleter);
    checkArgument(
        IMPORTS.add(address),
        "address: 0x%s has been imported and not closed; expected a structure that is not in use",
        Long.toHexString(address));
    return new DLPackTensor(
        device,
        first,
        view.extent(),
        dtype,
        shape,
        view.rowStride(),
        readOnly,
        new DLPackTensor.Delete(deleter, address));
  }

  private static long give(Layout layout, TensorView tensor, long flags) {
    boolean acquired = tensor.acquire("tensor");
    long managed = 0;
    boolean done = false;
    try {
      long[] shape = tensor.shape();
      int rank = shape.length;
      managed = Capi.allocate(layout.bytes + 2L * Long.BYTES * Math.max(1, rank));
      long shapeAddress = managed + layout.bytes;
      long stridesAddress = shapeAddress + (long) Long.BYTES * Math.max(1, rank);
      Memory.zero(managed, layout.bytes);
      ByteBuffer fields = Memory.byteBuffer(managed, layout.bytes);
      if (layout == Layout.VERSIONED) {
        fields.putInt(0, VERSION_MAJOR).putInt(4, VERSION_MINOR).putLong(Layout.FLAGS, flags);
      }
      fields.putLong(layout.deleter, Deleter.ADDRESS);
      int at = layout.tensor;
      fields.putLong(at + Layout.DATA, tensor.address());
      fields.putInt(at + Layout.DEVICE, tensor.device().isCpu() ? CPU : CUDA);
      fields.putInt(at + Layout.INDEX, tensor.device().index());
      fields.putInt(at + Layout.RANK, rank);
      fields.put(at + Layout.CODE, (byte) codeOf(tensor.dtype()));
      fields.put(at + Layout.BITS, (byte) (8 * tensor.dtype().bytes()));
      fields.putShort(at + Layout.LANES, (short) 1);
      fields.putLong(at + Layout.SHAPE, shapeAddress);
      fields.putLong(at + Layout.STRIDES, stridesAddress);
      LongBuffer shapes = Memory.byteBuffer(shapeAddress, (long) Long.BYTES * rank).asLongBuffer();
      LongBuffer strides =
          Memory.byteBuffer(stridesAddress, (long) Long.BYTES * rank).asLongBuffer();
      long stride = 1;
      for (int i = rank - 1; i >= 0; i--) {
        shapes.put(i, shape[i]);
        strides.put(i, stride);
        stride = i == rank - 1 ? tensor.rowStride() : stride * shape[i];
      }
      EXPORTS.put(managed, new Export(tensor, acquired));
      done = true;
      return managed;
    } finally {
      if (!done) {
        tensor.release(acquired);
        if (managed != 0) {
          Capi.free(managed);
        }
      }
    }
  }

  /** Frees an export. Returns false if it does not exist, so that a second call does nothing. */
  private static boolean delete(long managed) {
    Export export = EXPORTS.remove(managed);
    if (export == null) {
      return false;
    }
    export.tensor.release(export.acquired);
    Capi.free(managed);
    return true;
  }

  private static Device deviceOf(int type, int index) {
    switch (type) {
      case CPU:
      case CUDA_HOST:
        return Device.CPU;
      case CUDA:
      case CUDA_MANAGED:
        checkArgument(index >= 0, "device_id: %s; expected a CUDA device number", index);
        return Device.cuda(index);
      default:
        throw new IllegalArgumentException(
            "device_type: "
                + type
                + "; expected CPU (1), CUDA (2), page-locked host memory (3) or CUDA managed memory"
                + " (13)");
    }
  }

  private static DType dtypeOf(int code, int bits, int lanes) {
    checkArgument(lanes == 1, "lanes: %s; expected 1, elements that are single numbers", lanes);
    for (DType dtype : DType.values()) {
      if (codeOf(dtype) == code && 8 * dtype.bytes() == bits) {
        return dtype;
      }
    }
    throw new IllegalArgumentException(
        "dtype: code "
            + code
            + " with "
            + bits
            + " bits; expected float (2) with 64, 32 or 16 bits, bfloat (4) with 16, or with 8"
            + " float8_e4m3fn (10), float8_e5m2 (12) or float8_e8m0fnu (14)");
  }

  private static int codeOf(DType dtype) {
    return switch (dtype) {
      case FLOAT64, FLOAT32, FLOAT16 -> 2;
      case BFLOAT16 -> 4;
      case FLOAT8_E4M3 -> 10;
      case FLOAT8_E5M2 -> 12;
      case FLOAT8_E8M0 -> 14;
    };
  }

  private static long[] longs(long address, int count) {
    long[] values = new long[count];
    if (count > 0) {
      Memory.byteBuffer(address, (long) Long.BYTES * count).asLongBuffer().get(values);
    }
    return values;
  }

  /**
   * A tensor that a consumer holds; {@code acquired} tells whether the export keeps its memory
   * open.
   */
  private record Export(TensorView tensor, boolean acquired) {}

  /** Created by the first export. */
  private static final class Deleter {
    static final long ADDRESS = DLPackCapi.makeDeleter(DLPack::delete);

    private Deleter() {}
  }

  /** Field offsets on machines with 64-bit addresses. */
  private enum Layout {
    UNVERSIONED("DLManagedTensor", 0, 56, 64),
    VERSIONED("DLManagedTensorVersioned", 32, 16, 80);

    static final int FLAGS = 24;

    // Within the DLTensor.
    static final int DATA = 0;
    static final int DEVICE = 8;
    static final int INDEX = 12;
    static final int RANK = 16;
    static final int CODE = 20;
    static final int BITS = 21;
    static final int LANES = 22;
    static final int SHAPE = 24;
    static final int STRIDES = 32;
    static final int BYTE_OFFSET = 40;

    final String structure;
    final int tensor;
    final int deleter;
    final int bytes;

    Layout(String structure, int tensor, int deleter, int bytes) {
      this.structure = structure;
      this.tensor = tensor;
      this.deleter = deleter;
      this.bytes = bytes;
    }
  }
}
