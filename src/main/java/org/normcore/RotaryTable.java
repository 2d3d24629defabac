package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;
import static com.google.common.base.Preconditions.checkState;

import com.google.common.math.LongMath;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.Objects;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;

/**
 * The cosines and sines that {@link Rotary} reads: for every position {@code p} and pair {@code i},
 * {@code a * cos(p * w_i)} and {@code a * sin(p * w_i)}, with the inverse frequencies {@code w} and
 * the attention scaling {@code a} of a {@link RotarySpec}.
 *
 * <pre>{@code
 * RotarySpec spec = RotarySpec.builder(4).theta(10_000).build();
 * try (RotaryTable table = RotaryTable.builder(spec).dtype(DType.FLOAT32).range(0, 16)) {
 *   System.out.println(table);   // RotaryTable([16] positions, 2 pairs, FLOAT64 to FLOAT32)
 *   RotaryTable next = table.slice(15, 16);        // one decoding step, at position 15
 *   System.out.println(next.positions()[0]);       // 15
 *   System.out.println(next.cos().toFloats()[1]);  // 0.9887711, cos(15 * 0.01)
 * }
 * }</pre>
 *
 * <p><b>Positions</b> are integers from 0 to 2^40. The API takes {@code int} and {@code long} only,
 * so a position is never rounded to a low-precision number.
 *
 * <p><b>Accuracy.</b> Tables are always computed on the CPU, in float64 or in the float32 steps of
 * Hugging Face ({@link AnglePrecision}), and rounded to the dtype once, at the end. With {@link
 * AnglePrecision#FLOAT64} an angle is the exact product of the position and the float64 frequency,
 * and its cosine and sine are correct to half a unit in the last place of the dtype, up to the
 * error of float64 arithmetic. The bits are the same on every machine.
 *
 * <p><b>Shape.</b> {@link #cos()} and {@link #sin()} are {@code [seq, rotaryDim/2]}, the same
 * positions for every batch, or {@code [batch, seq, rotaryDim/2]}.
 *
 * <p><b>Memory and threads.</b> The table owns {@code 2 * positions * rotaryDim/2} elements on its
 * device. Building it also needs a few float64 values per thread and, for a CUDA device, a copy on
 * the host. Building 8192 positions of 64 pairs takes some tens of milliseconds of one core.
 * Immutable except for {@code close()}; thread-safe.
 */
public final class RotaryTable implements AutoCloseable {
  /** The largest position, 2^40. */
  public static final long MAX_POSITION = 1L << 40;

  /** The number of values that are computed, then rounded together. */
  private static final int CHUNK = 8192;

  private static final int ALIGNMENT = 256;

  private final RotarySpec spec;
  private final AnglePrecision angles;
  private final Positions positions;
  private final long sequenceLength;
  private final OwnedMemory memory;
  private final boolean owned;
  private final TensorView cos;
  private final TensorView sin;

  private RotaryTable(
      RotarySpec spec,
      AnglePrecision angles,
      Positions positions,
      long sequenceLength,
      OwnedMemory memory,
      boolean owned,
      TensorView cos,
      TensorView sin) {
    this.spec = spec;
    this.angles = angles;
    this.positions = positions;
    this.sequenceLength = sequenceLength;
    this.memory = memory;
    this.owned = owned;
    this.cos = cos;
    this.sin = sin;
  }

  /** Returns a builder for tables of a spec. The dtype must be set before the positions. */
  public static Builder builder(RotarySpec spec) {
    return new Builder(spec);
  }

  /** Returns the spec. */
  public RotarySpec spec() {
    return spec;
  }

  /** Returns the precision of the angles. */
  public AnglePrecision angles() {
    return angles;
  }

  /** Returns the dtype of cosines and sines. */
  public DType dtype() {
    return cos.dtype();
  }

  /** Returns the device of the table. */
  public Device device() {
    return cos.device();
  }

  /** Returns a copy of the shape of the positions: {@code [seq]} or {@code [batch, seq]}. */
  public long[] shape() {
    return positions.shape.clone();
  }

  /** Returns the number of positions. */
  public long rows() {
    return positions.count();
  }

  /**
   * Returns the positions in row order, in a new array.
   *
   * @throws IllegalArgumentException if there are more positions than an array holds
   */
  public long[] positions() {
    checkArgument(
        rows() <= Integer.MAX_VALUE - 8, "positions: %s are more than an array can hold", rows());
    long[] all = new long[(int) rows()];
    for (int i = 0; i < all.length; i++) {
      all[i] = positions.at(i);
    }
    return all;
  }

  /**
   * Returns the sequence length for which the frequencies were computed, if they depend on it: by
   * default the largest position plus 1.
   */
  public long sequenceLength() {
    return sequenceLength;
  }

  /**
   * Returns the inverse frequencies of the angles; with {@link AnglePrecision#FLOAT32} they are
   * float32 numbers.
   */
  public double[] inverseFrequencies() {
    if (angles == AnglePrecision.FLOAT64) {
      return spec.inverseFrequencies(sequenceLength);
    }
    float[] narrow = spec.inverseFrequenciesInFloat32(sequenceLength);
    double[] all = new double[narrow.length];
    for (int i = 0; i < all.length; i++) {
      all[i] = narrow[i];
    }
    return all;
  }

  /** Returns the factor of cosines and sines. */
  public double attentionScaling() {
    return spec.attentionScaling();
  }

  /**
   * Returns the cosines, a contiguous view of the table's memory, with the shape of the positions
   * and {@code rotaryDim/2}. Do not write to it.
   *
   * @throws IllegalStateException if the table is closed
   */
  public TensorView cos() {
    memory.guard().checkOpen();
    return cos;
  }

  /**
   * Returns the sines, as {@link #cos()}.
   *
   * @throws IllegalStateException if the table is closed
   */
  public TensorView sin() {
    memory.guard().checkOpen();
    return sin;
  }

  /** Returns whether the table, or the table that this is a slice of, is open. */
  public boolean isOpen() {
    return memory.isOpen();
  }

  /**
   * Returns rows {@code from} to {@code to - 1} as a table, for instance the positions of the next
   * tokens in decoding. The slice uses this table's memory and keeps it reachable. Closing a slice
   * does nothing; closing this table closes its slices.
   *
   * @throws IllegalArgumentException if the range is not within the rows, or the table has
   *     positions per batch
   * @throws IllegalStateException if the table is closed
   */
  public RotaryTable slice(long from, long to) {
    checkArgument(
        positions.shape.length == 1,
        "slice: of a table with positions of shape %s; expected [seq]",
        Arrays.toString(positions.shape));
    checkArgument(
        0 <= from && from <= to && to <= rows(),
        "slice: rows %s to %s; expected a range within 0 to %s",
        from,
        to,
        rows());
    return new RotaryTable(
        spec,
        angles,
        positions.slice(from, to),
        sequenceLength,
        memory,
        false,
        cos().rows(from, to),
        sin().rows(from, to));
  }

  /**
   * Frees the memory; on a CUDA device waits until the device is idle. Does nothing for a slice, or
   * if already closed.
   *
   * @throws IllegalStateException if a call uses the table or a slice of it
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  @Override
  public void close() {
    if (owned) {
      memory.close();
    }
  }

  /** Returns, for example, {@code RotaryTable([8192] positions, 64 pairs, FLOAT64 to BFLOAT16)}. */
  @Override
  public String toString() {
    return "RotaryTable("
        + Arrays.toString(positions.shape)
        + " positions, "
        + spec.rotaryDim() / 2
        + " pairs, "
        + angles
        + " to "
        + dtype()
        + (device().isCpu() ? "" : " on " + device())
        + (isOpen() ? ")" : ", closed)");
  }

  /** The cosines; does not check that the memory is open. */
  TensorView cosUnchecked() {
    return cos;
  }

  TensorView sinUnchecked() {
    return sin;
  }

  /** The number of table rows from one batch to the next: 0 if all have the same positions. */
  long batchRows() {
    return positions.shape.length == 1 ? 0 : positions.shape[1];
  }

  /** Whether the table has a row for every token; an empty batch always fits. */
  boolean fits(long batch, long seq) {
    long[] shape = positions.shape;
    return shape.length == 1
        ? shape[0] == seq
        : shape[0] == batch && (batch == 0 || shape[1] == seq);
  }

  /** Integers: a range or a list. */
  private static final class Positions {
    final long[] shape;
    private final long start;
    private final long @Nullable [] list;

    private Positions(long start, long @Nullable [] list, long... shape) {
      this.shape = shape;
      this.start = start;
      this.list = list;
    }

    static Positions range(long start, long count) {
      checkArgument(
          count >= 0 && count <= MAX_POSITION + 1,
          "count: %s; expected 0 to 2^40 + 1 positions",
          count);
      checkArgument(start >= 0 && start <= MAX_POSITION, "start: %s; expected 0 to 2^40", start);
      checkArgument(
          start + count - 1 <= MAX_POSITION,
          "count: %s from %s on ends at %s; expected positions up to 2^40",
          count,
          start,
          start + count - 1);
      return new Positions(start, null, count);
    }

    static Positions list(long[] list, long... shape) {
      for (int i = 0; i < list.length; i++) {
        if (list[i] < 0 || list[i] > MAX_POSITION) {
          String index =
              shape.length == 1 ? "" + i : i / (int) shape[1] + "][" + i % (int) shape[1];
          throw new IllegalArgumentException(
              "positions[" + index + "]: " + list[i] + "; expected 0 to 2^40");
        }
      }
      return new Positions(0, list, shape);
    }

    long count() {
      return shape.length == 1 ? shape[0] : shape[0] * shape[1];
    }

    long at(long index) {
      return list == null ? start + index : list[(int) (start + index)];
    }

    /** The largest position plus 1; 0 if empty. */
    long length() {
      if (count() == 0) {
        return 0;
      }
      return 1 + (list == null ? start + count() - 1 : Arrays.stream(list).max().orElse(-1));
    }

    Positions slice(long from, long to) {
      return new Positions(start + from, list, to - from);
    }
  }

  /** Builds a {@link RotaryTable}. Not thread-safe. */
  public static final class Builder {
    private final RotarySpec spec;
    private AnglePrecision angles = AnglePrecision.FLOAT64;
    private @Nullable DType dtype;
    private Device device = Device.CPU;
    private boolean parallel = true;
    private long sequenceLength = -1;

    private Builder(RotarySpec spec) {
      this.spec = Objects.requireNonNull(spec, "spec: null; expected a RotarySpec");
    }

    /** Sets the precision of the angles. {@link AnglePrecision#FLOAT64} if not set. */
    public Builder angles(AnglePrecision angles) {
      this.angles = Objects.requireNonNull(angles, "angles: null; expected an AnglePrecision");
      return this;
    }

    /**
     * Sets the dtype of cosines and sines. Must be set: Hugging Face rounds them to the dtype of
     * the heads, other frameworks keep float32.
     *
     * @throws IllegalArgumentException if it is not FLOAT32, BFLOAT16 or FLOAT16
     */
    public Builder dtype(DType dtype) {
      this.dtype = Rotary.requireDType("dtype", dtype);
      return this;
    }

    /**
     * Sets the device of the table. The CPU if not set. The table is always computed on the CPU.
     */
    public Builder device(Device device) {
      this.device = Objects.requireNonNull(device, "device: null; expected a Device");
      return this;
    }

    /**
     * Sets the length of the sequence, for scalings that depend on it ({@link
     * RotarySpec#dependsOnLength()}). The largest position plus 1 if not set. For decoding, set the
     * final length of the sequence: queries and keys must be rotated with the same frequencies.
     *
     * @throws IllegalArgumentException if it is negative
     */
    public Builder sequenceLength(long sequenceLength) {
      checkArgument(sequenceLength >= 0, "sequenceLength: %s; expected at least 0", sequenceLength);
      this.sequenceLength = sequenceLength;
      return this;
    }

    /**
     * Sets whether large tables are computed in the common pool or in the calling thread alone.
     * True if not set. The bits are the same.
     */
    public Builder parallel(boolean parallel) {
      this.parallel = parallel;
      return this;
    }

    /**
     * Returns the table of positions {@code start} to {@code start + count - 1}, of shape {@code
     * [count]}.
     *
     * @throws IllegalArgumentException if a position is not within 0 to 2^40, the device is not an
     *     existing CUDA device, or a frequency is not finite
     * @throws IllegalStateException if the dtype is not set
     * @throws UnsupportedOperationException if CUDA is requested and not available
     * @throws OutOfMemoryError if memory is exhausted
     * @throws CudaException if CUDA reports an error, from this call or from earlier work
     * @throws UnsatisfiedLinkError if the native library can't be loaded
     */
    public RotaryTable range(long start, long count) {
      return build(Positions.range(start, count));
    }

    /**
     * Returns the table of the given positions, of shape {@code [positions.length]}, the same for
     * every batch. Otherwise as {@link #range}.
     *
     * @throws IllegalArgumentException if a position is not within 0 to 2^40; the message names its
     *     index
     */
    public RotaryTable positions(long[] positions) {
      Objects.requireNonNull(positions, "positions: null; expected an array of positions");
      return build(Positions.list(positions.clone(), positions.length));
    }

    /** Returns the table of the given positions, as {@link #positions(long[])}. */
    public RotaryTable positions(int[] positions) {
      Objects.requireNonNull(positions, "positions: null; expected an array of positions");
      long[] wide = Arrays.stream(positions).asLongStream().toArray();
      return build(Positions.list(wide, wide.length));
    }

    /**
     * Returns the table of positions per batch, of shape {@code [positions.length,
     * positions[0].length]}. Otherwise as {@link #positions(long[])}.
     *
     * @throws IllegalArgumentException if a position is not within 0 to 2^40, or the rows differ in
     *     length
     */
    public RotaryTable positions(long[][] positions) {
      Objects.requireNonNull(positions, "positions: null; expected an array of positions");
      for (int b = 0; b < positions.length; b++) {
        checkArgument(positions[b] != null, "positions[%s]: null; expected a row of positions", b);
      }
      int seq = positions.length == 0 ? 0 : positions[0].length;
      checkArgument(
          (long) positions.length * seq <= Integer.MAX_VALUE - 8,
          "positions: %s rows of %s are more than an array can hold",
          positions.length,
          seq);
      long[] flat = new long[positions.length * seq];
      for (int b = 0; b < positions.length; b++) {
        checkArgument(
            positions[b].length == seq,
            "positions[%s]: %s positions; expected %s, as positions[0] has",
            b,
            positions[b].length,
            seq);
        System.arraycopy(positions[b], 0, flat, b * seq, seq);
      }
      return build(Positions.list(flat, positions.length, seq));
    }

    private RotaryTable build(Positions positions) {
      checkState(
          dtype != null, "dtype: not set; expected the dtype of cos and sin, by dtype(DType)");
      if (!device.isCpu()) {
        Cuda.requireDevice("device", device);
      }
      long length = sequenceLength < 0 ? positions.length() : sequenceLength;
      Filler filler =
          angles == AnglePrecision.FLOAT64
              ? new Float64Filler(spec, length, positions)
              : new Float32Filler(spec, length, positions);
      filler.requireFiniteAngles(Math.max(0, positions.length() - 1));
      int pairs = spec.rotaryDim() / 2;
      long[] shape = Arrays.copyOf(positions.shape, positions.shape.length + 1);
      shape[shape.length - 1] = pairs;
      long bytes = Shapes.elements(dtype, shape) * dtype.bytes();
      long sinOffset =
          LongMath.saturatedMultiply(
              LongMath.saturatedAdd(bytes, ALIGNMENT - 1) / ALIGNMENT, ALIGNMENT);
      long all = LongMath.saturatedAdd(sinOffset, bytes);
      NativeBuffer host = NativeBuffer.allocate(all);
      OwnedMemory memory = host;
      boolean done = false;
      try {
        fill(filler, positions.count(), pairs, host, sinOffset);
        if (!device.isCpu()) {
          memory = upload(host, all);
        }
        RotaryTable table =
            new RotaryTable(
                spec,
                angles,
                positions,
                length,
                memory,
                true,
                memory.view(0, dtype, shape),
                memory.view(sinOffset, dtype, shape));
        done = true;
        return table;
      } finally {
        if (!done || memory != host) {
          host.close();
        }
      }
    }

    private void fill(Filler filler, long rows, int pairs, NativeBuffer host, long sinOffset) {
      DType type = Objects.requireNonNull(dtype);
      TensorView cos = host.view(0, type, rows, pairs);
      TensorView sin = host.view(sinOffset, type, rows, pairs);
      long step = Math.max(1, CHUNK / pairs);
      LongStream chunks = LongStream.range(0, (rows + step - 1) / step);
      (parallel ? chunks.parallel() : chunks)
          .forEach(
              chunk -> {
                long from = chunk * step;
                long to = Math.min(from + step, rows);
                filler.fill(from, to, cos.rows(from, to), sin.rows(from, to));
              });
      Reference.reachabilityFence(host);
    }

    private CudaBuffer upload(NativeBuffer host, long bytes) {
      CudaBuffer remote = CudaBuffer.allocate(device, bytes);
      boolean done = false;
      try {
        CudaStream stream = CudaStream.ofDefault(device);
        remote.view(DType.FLOAT8_E4M3, bytes).copyFrom(host.view(DType.FLOAT8_E4M3, bytes), stream);
        stream.synchronize();
        done = true;
        return remote;
      } finally {
        if (!done) {
          remote.close();
        }
      }
    }
  }

  /** Computes rows of a table. */
  private interface Filler {
    /** Checks the angles at the largest position. */
    void requireFiniteAngles(long largest);

    void fill(long from, long to, TensorView cos, TensorView sin);
  }

  private static void requireFinite(long position, double frequency, double angle) {
    checkArgument(
        Double.isFinite(angle),
        "positions: the angle at position %s with inverse frequency %s is %s; expected finite ones",
        position,
        frequency,
        angle);
  }

  /** Rounds float64 values to the table's dtype, once. */
  private record Float64Filler(double[] w, double scaling, Positions positions) implements Filler {
    Float64Filler(RotarySpec spec, long length, Positions positions) {
      this(spec.inverseFrequencies(length), spec.attentionScaling(), positions);
    }

    @Override
    public void requireFiniteAngles(long largest) {
      for (double frequency : w) {
        requireFinite(largest, frequency, largest * frequency);
      }
    }

    @Override
    public void fill(long from, long to, TensorView cosView, TensorView sinView) {
      double[] cos = new double[(int) (to - from) * w.length];
      double[] sin = new double[cos.length];
      int at = 0;
      for (long row = from; row < to; row++) {
        double position = positions.at(row);
        for (int i = 0; i < w.length; i++, at++) {
          double angle = position * w[i];
          // The exact rounding error of the product. It is at most 2^-13 for angles up to 2^40, for
          // which two terms of the series give its cosine and sine to less than 2^-56.
          double rest = Math.fma(position, w[i], -angle);
          boolean small = Math.abs(rest) <= 0x1p-13;
          double cosRest = small ? 1 - rest * rest / 2 : StrictMath.cos(rest);
          double sinRest = small ? rest - rest * rest * rest / 6 : StrictMath.sin(rest);
          double cosAngle = StrictMath.cos(angle);
          double sinAngle = StrictMath.sin(angle);
          cos[at] = scaling * (cosAngle * cosRest - sinAngle * sinRest);
          sin[at] = scaling * (sinAngle * cosRest + cosAngle * sinRest);
        }
      }
      cosView.copyFrom(cos);
      sinView.copyFrom(sin);
    }
  }

  /** Computes in the steps of float32 tensors, and rounds float32 values to the table's dtype. */
  private record Float32Filler(float[] w, float scaling, Positions positions) implements Filler {
    Float32Filler(RotarySpec spec, long length, Positions positions) {
      this(spec.inverseFrequenciesInFloat32(length), (float) spec.attentionScaling(), positions);
    }

    @Override
    public void requireFiniteAngles(long largest) {
      for (float frequency : w) {
        requireFinite(largest, frequency, (float) largest * frequency);
      }
    }

    @Override
    public void fill(long from, long to, TensorView cosView, TensorView sinView) {
      float[] cos = new float[(int) (to - from) * w.length];
      float[] sin = new float[cos.length];
      int at = 0;
      for (long row = from; row < to; row++) {
        float position = positions.at(row);
        for (int i = 0; i < w.length; i++, at++) {
          float angle = position * w[i];
          cos[at] = (float) StrictMath.cos(angle) * scaling;
          sin[at] = (float) StrictMath.sin(angle) * scaling;
        }
      }
      cosView.copyFrom(cos);
      sinView.copyFrom(sin);
    }
  }
}
