package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import com.google.common.math.LongMath;
import java.util.Arrays;

/**
 * Attention heads in memory: a tensor {@code [batch, seq, heads, headDim]} with a stride for each
 * dimension but the last, whose elements are contiguous. Immutable.
 *
 * <p>A heads view does not own memory; the rules of {@link TensorView} on reachable and closed
 * memory apply to the tensor it was made from. Queries and keys in one buffer, as a fused
 * projection writes them, are parts of one view:
 *
 * <pre>{@code
 * HeadsView qkv = HeadsView.of(projected);         // [batch, seq, heads + 2 * keyHeads, headDim]
 * HeadsView q = qkv.heads(0, heads);
 * HeadsView k = qkv.heads(heads, heads + keyHeads);
 * rotary.forward(table, q, q, k, k);               // in place
 * }</pre>
 */
public final class HeadsView {
  /** The order of the dimensions in memory, slowest first. */
  public enum Order {
    /** {@code [batch, seq, heads, headDim]}, as projections write them. */
    BATCH_SEQ_HEADS,
    /** {@code [batch, heads, seq, headDim]}, as many attention kernels read them. */
    BATCH_HEADS_SEQ
  }

  private final TensorView memory;
  private final long offset;
  private final long batch;
  private final long seq;
  private final long heads;
  private final long headDim;
  private final long batchStride;
  private final long seqStride;
  private final long headStride;
  private final long address;
  private final long span;
  private final boolean distinct;

  private HeadsView(
      TensorView memory,
      long offset,
      long batch,
      long seq,
      long heads,
      long headDim,
      long batchStride,
      long seqStride,
      long headStride) {
    this.memory = memory;
    this.offset = offset;
    this.batch = batch;
    this.seq = seq;
    this.heads = heads;
    this.headDim = headDim;
    this.batchStride = batchStride;
    this.seqStride = seqStride;
    this.headStride = headStride;
    this.address = memory.address() + offset * memory.dtype().bytes();
    this.span =
        isEmpty()
            ? 0
            : (batch - 1) * batchStride
                + (seq - 1) * seqStride
                + (heads - 1) * headStride
                + headDim;
    this.distinct = isDistinct();
  }

  /**
   * Returns the heads of a tensor {@code [batch, seq, heads, headDim]}, or {@code [seq, heads,
   * headDim]} of one batch. Its row stride may leave gaps between heads.
   *
   * @throws IllegalArgumentException if the tensor is null or of another rank
   */
  public static HeadsView of(TensorView tensor) {
    return of(tensor, Order.BATCH_SEQ_HEADS);
  }

  /**
   * Returns the heads of a tensor whose dimensions are in the given order, {@code [batch, heads,
   * seq, headDim]} for instance; without {@code batch} for one batch. Its row stride may leave gaps
   * between heads.
   *
   * @throws IllegalArgumentException if an argument is null or the tensor of another rank
   */
  public static HeadsView of(TensorView tensor, Order order) {
    TensorView.required("tensor", tensor);
    checkArgument(
        order != null, "order: null; expected one of %s", Arrays.toString(Order.values()));
    int rank = tensor.rank();
    boolean seqFirst = order == Order.BATCH_SEQ_HEADS;
    checkArgument(
        rank == 3 || rank == 4,
        "tensor: %s; expected 4 dimensions, %s, or the last 3 of them",
        tensor,
        seqFirst ? "[batch, seq, heads, headDim]" : "[batch, heads, seq, headDim]");
    long outer = tensor.size(-3);
    long inner = tensor.size(-2);
    long innerStride = tensor.rowStride();
    long outerStride = LongMath.saturatedMultiply(inner, innerStride);
    return new HeadsView(
        tensor,
        0,
        rank == 4 ? tensor.size(0) : 1,
        seqFirst ? outer : inner,
        seqFirst ? inner : outer,
        tensor.size(-1),
        LongMath.saturatedMultiply(outer, outerStride),
        seqFirst ? outerStride : innerStride,
        seqFirst ? innerStride : outerStride);
  }

  /**
   * Returns heads at explicit strides, all in elements.
   *
   * @param memory the memory, contiguous, of any shape
   * @param offset the offset of element {@code [0, 0, 0, 0]}
   * @param shape {@code [batch, seq, heads, headDim]}
   * @param strides the strides of {@code batch}, {@code seq} and {@code heads}
   * @throws IllegalArgumentException if an argument is null, negative or of the wrong length, or
   *     the heads are not within the memory
   */
  public static HeadsView of(TensorView memory, long offset, long[] shape, long[] strides) {
    TensorView.required("memory", memory);
    checkArgument(
        memory.isContiguous(), "memory: %s has gaps; expected a contiguous tensor", memory);
    checkArgument(
        shape != null && shape.length == 4 && Arrays.stream(shape).allMatch(n -> n >= 0),
        "shape: %s; expected [batch, seq, heads, headDim]",
        Arrays.toString(shape));
    checkArgument(
        strides != null && strides.length == 3 && Arrays.stream(strides).allMatch(n -> n >= 0),
        "strides: %s; expected strides of batch, seq and heads, each at least 0",
        Arrays.toString(strides));
    checkArgument(offset >= 0, "offset: %s; expected at least 0", offset);
    long end = LongMath.saturatedAdd(offset, shape[3]);
    boolean empty = shape[3] == 0;
    for (int i = 0; i < 3; i++) {
      empty |= shape[i] == 0;
      long reach = LongMath.saturatedMultiply(Math.max(0, shape[i] - 1), strides[i]);
      end = LongMath.saturatedAdd(end, reach);
    }
    checkArgument(
        (empty ? offset : end) <= memory.elements(),
        "memory: %s elements; expected at least %s, for heads of shape %s at strides %s from %s on",
        memory.elements(),
        end,
        Arrays.toString(shape),
        Arrays.toString(strides),
        offset);
    return new HeadsView(
        memory, offset, shape[0], shape[1], shape[2], shape[3], strides[0], strides[1], strides[2]);
  }

  /**
   * Returns heads {@code from} to {@code to - 1}.
   *
   * @throws IllegalArgumentException if the range is not within the heads
   */
  public HeadsView heads(long from, long to) {
    requireRange("heads", from, to, heads);
    return part(batch, seq, to - from, headDim, from == to ? 0 : from * headStride);
  }

  /**
   * Returns tokens {@code from} to {@code to - 1} of each batch.
   *
   * @throws IllegalArgumentException if the range is not within the tokens
   */
  public HeadsView tokens(long from, long to) {
    requireRange("tokens", from, to, seq);
    return part(batch, to - from, heads, headDim, from == to ? 0 : from * seqStride);
  }

  /**
   * Returns elements {@code from} to {@code to - 1} of each head, for instance the rotary part of a
   * head in multi-head latent attention.
   *
   * @throws IllegalArgumentException if the range is not within the head
   */
  public HeadsView dims(long from, long to) {
    requireRange("dims", from, to, headDim);
    return part(batch, seq, heads, to - from, from == to ? 0 : from);
  }

  private static void requireRange(String name, long from, long to, long size) {
    checkArgument(
        0 <= from && from <= to && to <= size,
        "%s: %s to %s; expected a range within 0 to %s",
        name,
        from,
        to,
        size);
  }

  private HeadsView part(long batch, long seq, long heads, long headDim, long skipped) {
    return new HeadsView(
        memory,
        isEmpty() ? offset : offset + skipped,
        batch,
        seq,
        heads,
        headDim,
        batchStride,
        seqStride,
        headStride);
  }

  /** Returns the number of sequences. */
  public long batch() {
    return batch;
  }

  /** Returns the number of tokens of a sequence. */
  public long seq() {
    return seq;
  }

  /** Returns the number of heads of a token. */
  public long heads() {
    return heads;
  }

  /** Returns the number of elements of a head. */
  public long headDim() {
    return headDim;
  }

  /** Returns a copy of the shape, {@code [batch, seq, heads, headDim]}. */
  public long[] shape() {
    return new long[] {batch, seq, heads, headDim};
  }

  /** Returns a copy of the strides of batch, seq and heads, in elements. */
  public long[] strides() {
    return new long[] {batchStride, seqStride, headStride};
  }

  /** Returns the number format of the elements. */
  public DType dtype() {
    return memory.dtype();
  }

  /** Returns the device of the memory. */
  public Device device() {
    return memory.device();
  }

  /** Returns the address of the first element. */
  public long address() {
    return address;
  }

  /** Returns, for example, {@code BFLOAT16 heads [2, 16, 8, 128] at strides [..] on cpu}. */
  @Override
  public String toString() {
    return dtype()
        + " heads "
        + Arrays.toString(shape())
        + " at strides "
        + Arrays.toString(strides())
        + " on "
        + device();
  }

  long batchStride() {
    return batchStride;
  }

  long seqStride() {
    return seqStride;
  }

  long headStride() {
    return headStride;
  }

  boolean isEmpty() {
    return batch == 0 || seq == 0 || heads == 0 || headDim == 0;
  }

  boolean hasShapeOf(HeadsView other) {
    return batch == other.batch
        && seq == other.seq
        && heads == other.heads
        && headDim == other.headDim;
  }

  /** The memory as a tensor, for {@link Leases}. */
  TensorView memory() {
    return memory;
  }

  /**
   * Whether no two elements have the same address. Conservative: sorted by size, each stride must
   * exceed the span of all smaller ones.
   */
  boolean hasDistinctElements() {
    return distinct;
  }

  private boolean isDistinct() {
    if (isEmpty()) {
      return true;
    }
    long[][] dims = {{batchStride, batch}, {seqStride, seq}, {headStride, heads}};
    Arrays.sort(dims, (a, b) -> Long.compare(a[0], b[0]));
    long reach = headDim;
    for (long[] dim : dims) {
      if (dim[1] > 1) {
        if (dim[0] < reach) {
          return false;
        }
        reach += (dim[1] - 1) * dim[0];
      }
    }
    return true;
  }

  /** Whether both views have the same elements at the same addresses. */
  boolean isInPlaceOf(HeadsView other) {
    return address == other.address
        && hasShapeOf(other)
        && dtype().bytes() == other.dtype().bytes()
        && (batchStride == other.batchStride || batch == 1)
        && (seqStride == other.seqStride || seq == 1)
        && (headStride == other.headStride || heads == 1);
  }

  /**
   * Whether the views have a common element. Exact for interleaved views, such as parts of one
   * tensor, if strides and element size are equal; otherwise interleaved views count as
   * overlapping. Does not allocate.
   */
  boolean overlaps(HeadsView other) {
    if (isEmpty() || other.isEmpty()) {
      return false;
    }
    long size = dtype().bytes();
    long otherSize = other.dtype().bytes();
    if (address + span * size <= other.address
        || other.address + other.span * otherSize <= address) {
      return false;
    }
    long distance = address - other.address;
    if (size != otherSize
        || distance % size != 0
        || differ(batchStride, batch, other.batchStride, other.batch)
        || differ(seqStride, seq, other.seqStride, other.seq)
        || differ(headStride, heads, other.headStride, other.heads)) {
      return true;
    }
    return headsOverlap(
        distance / size,
        batch > 1 ? batchStride : other.batchStride,
        seq > 1 ? seqStride : other.seqStride,
        heads > 1 ? headStride : other.headStride,
        other);
  }

  /** Whether two strides differ. The stride of a dimension of size 1 is ignored. */
  private static boolean differ(long stride, long size, long otherStride, long otherSize) {
    return stride != otherStride && size > 1 && otherSize > 1;
  }

  /** Whether a tensor overlaps the memory that this view spans. */
  boolean overlaps(TensorView tensor) {
    return tensor.overlaps(address, span * dtype().bytes());
  }

  /**
   * Whether any two heads overlap, if these heads start {@code distance} elements after the
   * other's: whether index differences b of batch, s of seq and h of heads exist with {@code
   * distance + b * batchStride + s * seqStride + h * headStride} above {@code -headDim} and below
   * {@code other.headDim}. Enumerates the two differences with the larger strides; few are in
   * range.
   */
  private boolean headsOverlap(
      long distance, long batchStride, long seqStride, long headStride, HeadsView other) {
    long bLow = 1 - other.batch;
    long bHigh = batch - 1;
    long sLow = 1 - other.seq;
    long sHigh = seq - 1;
    long hLow = 1 - other.heads;
    long hHigh = heads - 1;
    boolean seqOuter = seqStride >= headStride;
    long outer = seqOuter ? seqStride : headStride;
    long outerLow = seqOuter ? sLow : hLow;
    long outerHigh = seqOuter ? sHigh : hHigh;
    long inner = seqOuter ? headStride : seqStride;
    long innerLow = seqOuter ? hLow : sLow;
    long innerHigh = seqOuter ? hHigh : sHigh;
    // The range that the inner dimensions can add, including the elements of a head.
    long low1 = innerLow * inner - other.headDim + 1;
    long high1 = innerHigh * inner + headDim - 1;
    long low2 = low1 + outerLow * outer;
    long high2 = high1 + outerHigh * outer;
    long bFrom = first(distance, high2, batchStride, bLow);
    long bTo = last(distance, low2, batchStride, bHigh);
    for (long b = bFrom; b <= bTo; b++) {
      long atBatch = distance + b * batchStride;
      long oFrom = first(atBatch, high1, outer, outerLow);
      long oTo = last(atBatch, low1, outer, outerHigh);
      for (long o = oFrom; o <= oTo; o++) {
        long atOuter = atBatch + o * outer;
        if (first(atOuter, headDim - 1, inner, innerLow)
            <= last(atOuter, 1 - other.headDim, inner, innerHigh)) {
          return true;
        }
      }
    }
    return false;
  }

  /**
   * The smallest index of at least {@code low} with {@code at + index * stride + high >= 0}. With a
   * stride of 0 all indices are equivalent to 0, which is always valid.
   */
  private static long first(long at, long high, long stride, long low) {
    if (stride == 0) {
      return at + high >= 0 ? 0 : Long.MAX_VALUE;
    }
    return Math.max(low, -Math.floorDiv(at + high, stride));
  }

  /** The largest index of at most {@code high} with {@code at + index * stride + low <= 0}. */
  private static long last(long at, long low, long stride, long high) {
    if (stride == 0) {
      return at + low <= 0 ? 0 : Long.MIN_VALUE;
    }
    return Math.min(high, Math.floorDiv(-(at + low), stride));
  }
}
