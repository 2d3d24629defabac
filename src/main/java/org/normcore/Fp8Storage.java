package org.normcore;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CudaCapi;
import org.normcore.internal.Fp8Capi;
import org.normcore.internal.Memory;

/**
 * The bits of an FP8 tensor and its scaling data, in one block on one device. Argument checks and
 * locking are the caller's.
 *
 * <p>The scaling data follow the bits. With one scale: scale, its inverse, amax, the largest amax
 * of the history, and the history, all float32. With blocks: their E8M0 codes.
 */
final class Fp8Storage {
  private static final int ALIGNMENT = 64;
  private static final int SCALE = 0;
  private static final int SCALE_INV = 1;
  private static final int AMAX = 2;
  private static final int LARGEST = 3;
  private static final int HISTORY = 4;

  private final Fp8Spec spec;
  private final long[] shape;
  private final long rows;
  private final long columns;
  private final long numbersOffset;
  private final OwnedMemory memory;
  private int nextInHistory;
  private boolean isFilled;

  private Fp8Storage(Fp8Spec spec, long[] shape, long rows, long columns, Device device) {
    this.spec = spec;
    this.shape = shape;
    this.rows = rows;
    this.columns = columns;
    long bits = rows * columns;
    this.numbersOffset = Math.addExact(bits, ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    long numbers =
        spec.scaling() == Fp8Scaling.BLOCK
            ? rows * blocks()
            : 4L * (HISTORY + spec.historyLength());
    long bytes = Math.addExact(numbersOffset, numbers);
    this.memory =
        device.isCpu() ? NativeBuffer.allocate(bytes) : CudaBuffer.allocate(device, bytes);
  }

  /** Allocates storage for the values of a tensor, and initialises the scaling data. */
  static Fp8Storage allocate(Fp8Spec spec, TensorView source, @Nullable CudaStream stream) {
    long columns = source.rank() == 0 ? 1 : source.size(-1);
    Fp8Storage storage =
        new Fp8Storage(spec, source.shape(), source.rowCount(), columns, source.device());
    boolean done = false;
    try {
      storage.initialise(stream);
      done = true;
    } finally {
      if (!done) {
        storage.memory.close();
      }
    }
    return storage;
  }

  private void initialise(@Nullable CudaStream stream) {
    if (spec.scaling() == Fp8Scaling.BLOCK) {
      return;
    }
    long bytes = memory.bytes() - numbersOffset;
    try (NativeBuffer host = NativeBuffer.allocate(bytes).zero()) {
      if (spec.recipe() == Fp8Recipe.GIVEN) {
        ByteBuffer numbers = host.asByteBuffer();
        numbers.putFloat(4 * SCALE, spec.givenScale());
        numbers.putFloat(4 * SCALE_INV, 1 / spec.givenScale());
      }
      if (stream == null) {
        Memory.copy(number(0), host.address(), bytes);
      } else {
        CudaCapi.copy(device().index(), number(0), host.address(), bytes, stream.handle());
        stream.synchronize();
      }
    }
  }

  Device device() {
    return memory.device();
  }

  OwnedMemory memory() {
    return memory;
  }

  TensorView data() {
    return memory.view(spec.format(), shape);
  }

  TensorView scale() {
    return memory.view(numbersOffset + 4 * SCALE, DType.FLOAT32, 1);
  }

  TensorView scaleInv() {
    if (spec.scaling() == Fp8Scaling.TENSOR) {
      return memory.view(numbersOffset + 4 * SCALE_INV, DType.FLOAT32, 1);
    }
    long[] blockShape = shape.length == 0 ? new long[] {1} : shape.clone();
    blockShape[blockShape.length - 1] = blocks();
    return memory.view(numbersOffset, DType.FLOAT8_E8M0, blockShape);
  }

  TensorView amax() {
    return memory.view(numbersOffset + 4 * AMAX, DType.FLOAT32, 1);
  }

  /** Quantises values of this shape on this device, with the caller's amax or their own. */
  void quantize(TensorView source, @Nullable TensorView reducedAmax, @Nullable CudaStream stream) {
    long handle = handle(stream);
    switch (spec.recipe()) {
      case MXFP8 ->
          Fp8Capi.quantizeBlocks(
              device(),
              source.address(),
              source.dtype().code(),
              rows,
              columns,
              source.rowStride(),
              memory.address(),
              spec.format().code(),
              number(0),
              handle);
      case GIVEN -> {
        zero(AMAX, handle);
        scaled(source, number(AMAX), handle);
      }
      case CURRENT -> quantizeByOwnAmax(source, reducedAmax, handle);
      case DELAYED -> {
        if (isFilled) {
          quantizeByHistory(source, reducedAmax, handle);
        } else {
          quantizeByOwnAmax(source, reducedAmax, handle);
        }
      }
    }
    isFilled = true;
    Reference.reachabilityFence(memory);
  }

  private void quantizeByOwnAmax(TensorView source, @Nullable TensorView reducedAmax, long handle) {
    if (reducedAmax == null) {
      zero(AMAX, handle);
      amax(source, number(AMAX), handle);
    } else {
      copy(AMAX, reducedAmax.address(), handle);
    }
    makeScale(AMAX, handle);
    scaled(source, 0, handle);
  }

  private void quantizeByHistory(TensorView source, @Nullable TensorView reducedAmax, long handle) {
    copy(HISTORY + nextInHistory, number(AMAX), handle);
    nextInHistory = (nextInHistory + 1) % spec.historyLength();
    zero(LARGEST, handle);
    int length = spec.historyLength();
    Fp8Capi.amax(
        device(),
        number(HISTORY),
        DType.FLOAT32.code(),
        1,
        length,
        length,
        number(LARGEST),
        handle);
    makeScale(LARGEST, handle);
    if (reducedAmax == null) {
      zero(AMAX, handle);
      scaled(source, number(AMAX), handle);
    } else {
      copy(AMAX, reducedAmax.address(), handle);
      scaled(source, 0, handle);
    }
  }

  private void makeScale(int from, long handle) {
    Fp8Capi.scale(
        device(),
        spec.format().code(),
        spec.margin(),
        spec.powerOfTwo(),
        number(from),
        number(SCALE),
        number(SCALE_INV),
        handle);
  }

  private void scaled(TensorView source, long amax, long handle) {
    Fp8Capi.quantize(
        device(),
        source.address(),
        source.dtype().code(),
        rows,
        columns,
        source.rowStride(),
        memory.address(),
        spec.format().code(),
        number(SCALE),
        amax,
        handle);
  }

  /** Dequantises into a tensor of this shape on this device. */
  void dequantize(TensorView target, @Nullable CudaStream stream) {
    boolean blocks = spec.scaling() == Fp8Scaling.BLOCK;
    Fp8Capi.dequantize(
        device(),
        spec.scaling().code(),
        memory.address(),
        spec.format().code(),
        rows,
        columns,
        number(blocks ? 0 : SCALE_INV),
        target.address(),
        target.dtype().code(),
        target.rowStride(),
        handle(stream));
    Reference.reachabilityFence(memory);
  }

  /** Copies to another device and waits for the stream, which is of one of the two devices. */
  Fp8Storage copiedTo(Device target, CudaStream stream) {
    Fp8Storage copy = new Fp8Storage(spec, shape, rows, columns, target);
    boolean done = false;
    try {
      CudaCapi.copy(
          stream.device().index(),
          copy.memory.address(),
          memory.address(),
          memory.bytes(),
          stream.handle());
      stream.synchronize();
      copy.nextInHistory = nextInHistory;
      copy.isFilled = isFilled;
      done = true;
    } finally {
      if (!done) {
        copy.memory.close();
      }
    }
    return copy;
  }

  /** Sets a float32 on a tensor's device to the maximum of itself and the tensor's magnitudes. */
  static void amax(TensorView source, long amax, long handle) {
    long columns = source.rank() == 0 ? 1 : source.size(-1);
    Fp8Capi.amax(
        source.device(),
        source.address(),
        source.dtype().code(),
        source.rowCount(),
        columns,
        source.rowStride(),
        amax,
        handle);
  }

  private long blocks() {
    return (columns + Fp8Scaling.BLOCK_SIZE - 1) / Fp8Scaling.BLOCK_SIZE;
  }

  private long number(int index) {
    return memory.address() + numbersOffset + 4L * index;
  }

  private void zero(int index, long handle) {
    zero(device(), number(index), handle);
  }

  /** Copies one float32 into the scaling data, unless it is already there. */
  private void copy(int index, long from, long handle) {
    long to = number(index);
    if (from == to) {
      return;
    }
    if (device().isCpu()) {
      Memory.copy(to, from, 4);
    } else {
      CudaCapi.copy(device().index(), to, from, 4, handle);
    }
  }

  /** Sets one float32 to 0. */
  static void zero(Device device, long number, long handle) {
    if (device.isCpu()) {
      Memory.zero(number, 4);
    } else {
      CudaCapi.zero(device.index(), number, 4, handle);
    }
  }

  private static long handle(@Nullable CudaStream stream) {
    return stream == null ? 0 : stream.handle();
  }
}
