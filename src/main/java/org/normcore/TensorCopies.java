package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Objects;
import org.normcore.internal.Capi;
import org.normcore.internal.CudaCapi;
import org.normcore.internal.Memory;

/**
 * Copies between tensors, and between tensors and arrays, with conversion. The contracts are those
 * of the methods of {@link TensorView} that call these.
 */
final class TensorCopies {
  /** The number of elements converted at a time in copies from or to arrays. */
  private static final int CHUNK = 8192;

  private TensorCopies() {}

  /** See {@link TensorView#copyFrom(float[])}. */
  static TensorView fromFloats(TensorView target, float[] source) {
    Objects.requireNonNull(source, "source: null; expected an array of elements");
    checkLength(target, source.length);
    copyThroughStaging(
        target,
        DType.FLOAT32,
        true,
        (staging, first, count) -> staging.asFloatBuffer().put(source, first, count));
    return target;
  }

  /** See {@link TensorView#copyFrom(double[])}. */
  static TensorView fromDoubles(TensorView target, double[] source) {
    Objects.requireNonNull(source, "source: null; expected an array of elements");
    checkLength(target, source.length);
    copyThroughStaging(
        target,
        DType.FLOAT64,
        true,
        (staging, first, count) -> staging.asDoubleBuffer().put(source, first, count));
    return target;
  }

  /** See {@link TensorView#toFloats()}. */
  static float[] toFloats(TensorView source) {
    float[] target = new float[arrayLength(source, 1)];
    copyThroughStaging(
        source,
        DType.FLOAT32,
        false,
        (staging, first, count) -> staging.asFloatBuffer().get(target, first, count));
    return target;
  }

  /** See {@link TensorView#toDoubles()}. */
  static double[] toDoubles(TensorView source) {
    double[] target = new double[arrayLength(source, 1)];
    copyThroughStaging(
        source,
        DType.FLOAT64,
        false,
        (staging, first, count) -> staging.asDoubleBuffer().get(target, first, count));
    return target;
  }

  /** See {@link TensorView#toBytes()}. */
  static byte[] toBytes(TensorView source) {
    int width = source.dtype().bytes();
    byte[] target = new byte[arrayLength(source, width)];
    checkHost("tensor", source);
    boolean acquired = source.acquire("tensor");
    try {
      int run = (int) run(source) * width;
      for (int done = 0, row = 0; done < target.length; done += run, row++) {
        Memory.byteBuffer(source.addressOf(row, 0), run).get(target, done, run);
      }
    } finally {
      source.release(acquired);
      Reference.reachabilityFence(source);
    }
    return target;
  }

  /** See {@link TensorView#copyFrom(TensorView)}. */
  static TensorView convert(TensorView target, TensorView source) {
    TensorView.required("source", source);
    checkHost("source", source);
    checkHost("target", target);
    checkSameShape(target, source);
    boolean same =
        target.address() == source.address()
            && target.rowStride() == source.rowStride()
            && target.dtype().bytes() == source.dtype().bytes();
    checkArgument(
        same || !target.overlaps(source), "source: %s overlaps the target %s", source, target);
    copyRuns(
        target,
        source,
        (to, from, count) ->
            Capi.convert(from, source.dtype().code(), to, target.dtype().code(), count));
    return target;
  }

  /** See {@link TensorView#copyFrom(TensorView, CudaStream)}. */
  static TensorView enqueue(TensorView target, TensorView source, CudaStream stream) {
    TensorView.required("source", source);
    Device device = target.device();
    checkArgument(
        !device.isCpu() || !source.device().isCpu(),
        "source: %s and the target both are in host memory; expected at least one on a CUDA device",
        source);
    if (stream == null || !stream.device().equals(source.device())) {
      CudaStream.requireOf(device.isCpu() ? source.device() : device, stream);
    }
    checkArgument(
        target.dtype() == source.dtype(),
        "source: dtype %s; expected %s, as the target has",
        source.dtype(),
        target.dtype());
    checkSameShape(target, source);
    checkArgument(
        !device.equals(source.device()) || !target.overlaps(source),
        "source: %s overlaps the target %s",
        source,
        target);
    stream.acquire();
    try {
      int index = stream.device().index();
      int width = target.dtype().bytes();
      copyRuns(
          target,
          source,
          (to, from, count) -> CudaCapi.copy(index, to, from, count * width, stream.handle()));
    } finally {
      stream.release();
    }
    return target;
  }

  /** Copies a run: {@code count} elements that are contiguous in both tensors. */
  private interface Run {
    void copy(long target, long source, long count);
  }

  private static void copyRuns(TensorView target, TensorView source, Run run) {
    boolean heldSource = source.acquire("source");
    try {
      boolean acquired = target.acquireToWrite("target");
      try {
        long length = Math.min(run(target), run(source));
        for (long done = 0, row = 0; done < target.elements(); done += length, row++) {
          run.copy(target.addressOf(row, 0), source.addressOf(row, 0), length);
        }
      } finally {
        target.release(acquired);
        Reference.reachabilityFence(target);
      }
    } finally {
      source.release(heldSource);
      Reference.reachabilityFence(source);
    }
  }

  /** Copies a chunk: {@code count} elements of an array, starting at {@code first}. */
  private interface Chunk {
    void copy(ByteBuffer staging, int first, int count);
  }

  private static void copyThroughStaging(
      TensorView tensor, DType arrayType, boolean inward, Chunk chunk) {
    checkHost("tensor", tensor);
    int code = tensor.dtype().code();
    boolean acquired = inward ? tensor.acquireToWrite("tensor") : tensor.acquire("tensor");
    try (NativeBuffer staging = NativeBuffer.allocate((long) CHUNK * arrayType.bytes())) {
      ByteBuffer bytes = Memory.byteBuffer(staging.address(), staging.bytes());
      long run = run(tensor);
      for (long done = 0; done < tensor.elements(); ) {
        long inRow = done % run;
        long at = tensor.addressOf(done / run, inRow);
        int count = (int) Math.min(CHUNK, run - inRow);
        if (inward) {
          chunk.copy(bytes, (int) done, count);
          Capi.convert(staging.address(), arrayType.code(), at, code, count);
        } else {
          Capi.convert(at, code, staging.address(), arrayType.code(), count);
          chunk.copy(bytes, (int) done, count);
        }
        done += count;
      }
    } finally {
      tensor.release(acquired);
      Reference.reachabilityFence(tensor);
    }
  }

  /** The number of elements without a gap: all of them, or those of a row. */
  private static long run(TensorView tensor) {
    return tensor.isContiguous() ? tensor.elements() : tensor.rowLength();
  }

  private static void checkHost(String name, TensorView tensor) {
    if (!tensor.device().isCpu()) {
      throw new UnsupportedOperationException(
          name
              + ": is on "
              + tensor.device()
              + "; expected host memory: copy it there first, by TensorView.copyFrom(source,"
              + " stream)");
    }
  }

  private static void checkSameShape(TensorView target, TensorView source) {
    checkArgument(
        target.hasShape(source.shape()),
        "source: shape %s; expected %s, as the target has",
        Arrays.toString(source.shape()),
        Arrays.toString(target.shape()));
  }

  private static void checkLength(TensorView target, int length) {
    checkArgument(
        length == target.elements(),
        "source: %s elements; expected %s, as %s has",
        length,
        target.elements(),
        target);
  }

  private static int arrayLength(TensorView source, int unit) {
    checkArgument(
        source.elements() <= (Integer.MAX_VALUE - 8) / unit,
        "%s has more elements than an array can hold",
        source);
    return (int) source.elements() * unit;
  }
}
