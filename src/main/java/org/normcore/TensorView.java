package org.normcore;

import static com.google.common.base.Preconditions.checkArgument;

import java.nio.Buffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Objects;
import org.bytedeco.javacpp.Pointer;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.Memory;

/**
 * A view of memory as a tensor: an address, a {@link DType}, a {@link Device}, a shape and a row
 * stride. Immutable.
 *
 * <pre>{@code
 * try (NativeBuffer buffer = NativeBuffer.allocate(DType.BFLOAT16, 2, 4)) {
 *   TensorView all = buffer.view(DType.BFLOAT16, 2, 4);
 *   all.copyFrom(new float[] {1, 2, 3, 4, 5, 6, 7, 8.01f});   // rounds to bfloat16
 *   System.out.println(all.toFloats()[7]);                    // 8.0
 *   TensorView left = buffer.view(DType.BFLOAT16, 2, 2).withRowStride(4);
 *   System.out.println(left);   // BFLOAT16[2, 2] with a row stride of 4 on cpu
 *   System.out.println(left.rows(1, 2).toFloats()[0]);        // 5.0
 *   TensorView flat = TensorView.ofAddress(buffer.address(), DType.BFLOAT16, Device.CPU, 8);
 *   System.out.println(flat.withOwner(buffer).elements());    // 8
 * }
 * }</pre>
 *
 * <p>A view does not own memory. It keeps the object it was made from (a pointer, a buffer)
 * reachable; {@link #withOwner} adds another object. Operations on the view throw if that object is
 * a closed {@link NativeBuffer} or {@link CudaBuffer}, or a deallocated pointer. Views of raw
 * addresses are not checked.
 *
 * <p>The elements of a row (the last dimension) are contiguous. All leading dimensions are
 * flattened into rows with one stride, {@link #rowStride()}. Any alignment is allowed. The caller
 * always states the dtype; it is never inferred from the class of a buffer.
 *
 * <p>Views are thread-safe; accesses to the memory itself are not synchronised.
 */
public final class TensorView {
  private static final long UNKNOWN = -1;

  private final long address;
  private final DType dtype;
  private final Device device;
  private final long[] shape;
  private final long elements;
  private final long rowLength;
  private final long rowCount;
  private final long rowStride;
  private final long extent;
  private final long capacity;
  private final @Nullable OwnedMemory memory;
  private final @Nullable Pointer pointer;
  private final @Nullable Object owner;

  private TensorView(
      long address,
      DType dtype,
      Device device,
      long[] shape,
      long rowStride,
      long capacity,
      @Nullable OwnedMemory memory,
      @Nullable Pointer pointer,
      @Nullable Object owner) {
    this.address = address;
    this.dtype = Objects.requireNonNull(dtype, "dtype: null; expected a DType");
    this.device = Objects.requireNonNull(device, "device: null; expected a Device");
    this.shape = Objects.requireNonNull(shape, "shape: null; expected an array of sizes").clone();
    this.elements = Shapes.elements(dtype, this.shape);
    this.rowLength = this.shape.length == 0 ? 1 : this.shape[this.shape.length - 1];
    this.rowCount = Shapes.rows(this.shape);
    this.rowStride = rowStride == UNKNOWN ? rowLength : rowStride;
    this.capacity = capacity;
    this.memory = memory;
    this.pointer = pointer;
    this.owner = owner;
    checkArgument(
        this.rowStride >= rowLength,
        "rowStride: %s; expected at least the length of a row, %s",
        this.rowStride,
        rowLength);
    checkArgument(
        elements == 0 || address != 0, "address: 0; expected the address of %s elements", elements);
    checkArgument(address >= 0, "address: %s; expected at least 0", address);
    this.extent = Shapes.extent(elements, rowCount, this.rowStride, rowLength, dtype.bytes());
    long bytes = extent;
    checkArgument(
        bytes >= 0,
        "shape: %s with a row stride of %s is beyond the address space",
        Arrays.toString(shape),
        rowStride);
    checkArgument(
        address <= Long.MAX_VALUE - bytes,
        "address: %s; expected at most %s, for %s bytes to end within the address space",
        address,
        Long.MAX_VALUE - bytes,
        bytes);
    if (capacity != UNKNOWN && bytes > capacity) {
      throw new IllegalArgumentException(
          "buffer: "
              + capacity
              + " bytes are too few for a "
              + dtype
              + " tensor of shape "
              + Arrays.toString(shape)
              + (this.rowStride == rowLength ? "" : " with a row stride of " + this.rowStride)
              + "; expected at least "
              + bytes);
    }
  }

  /**
   * Returns a view of the memory at a JavaCPP pointer's position, in host memory.
   *
   * <p>If the pointer has a limit or a capacity, the tensor must lie between its position and its
   * limit. A pointer whose limit and capacity are both 0, for instance one that a native function
   * returns, has no known size and is not checked, like a raw address. The pointer's class does not
   * determine the dtype. The view keeps the pointer reachable; operations on it throw after the
   * pointer is deallocated. If another object owns the memory, such as a tensor of another library
   * that hands out the pointer, add it with {@link #withOwner}.
   *
   * @throws IllegalArgumentException if the pointer is null, or too small for the shape
   */
  public static TensorView of(Pointer pointer, DType dtype, long... shape) {
    return of(pointer, dtype, Device.CPU, shape);
  }

  /**
   * Returns a view of the memory at a JavaCPP pointer's position, on the given device, for pointers
   * to device memory from the CUDA presets or a framework. Otherwise as {@link #of(Pointer, DType,
   * long...)}. Calls that use the view check the memory's device, as far as the CUDA driver knows
   * it.
   *
   * @throws IllegalArgumentException if the pointer is null, or too small for the shape
   */
  public static TensorView of(Pointer pointer, DType dtype, Device device, long... shape) {
    if (pointer == null) {
      throw new IllegalArgumentException("pointer: null; expected the memory of a tensor");
    }
    long size = pointer.position() == 0 && pointer.limit() == 0 ? 1 : pointer.sizeof();
    boolean known = pointer.limit() > 0 || pointer.capacity() > 0;
    long bytes = known ? Math.max(0, pointer.limit() - pointer.position()) * size : UNKNOWN;
    boolean isNull = pointer.isNull();
    return new TensorView(
        isNull ? 0 : pointer.address() + pointer.position() * size,
        dtype,
        device,
        shape,
        UNKNOWN,
        bytes,
        null,
        isNull ? null : pointer,
        null);
  }

  /**
   * Returns a view of a direct buffer's memory from its position to its limit. The class of the
   * buffer does not determine the dtype: a bfloat16 tensor may be in a {@code ByteBuffer} or a
   * {@code ShortBuffer}.
   *
   * @throws IllegalArgumentException if the buffer is null, on the heap, read-only, not in native
   *     byte order, or too small for the shape
   */
  public static TensorView of(Buffer buffer, DType dtype, long... shape) {
    if (buffer == null) {
      throw new IllegalArgumentException("buffer: null; expected the memory of a tensor");
    }
    checkArgument(
        buffer.isDirect(),
        "buffer: %s is on the Java heap, where it may move; expected a direct buffer, such as"
            + " ByteBuffer.allocateDirect makes",
        buffer);
    checkArgument(!buffer.isReadOnly(), "buffer: %s is read-only; expected a writable one", buffer);
    checkArgument(
        Memory.order(buffer) == ByteOrder.nativeOrder(),
        "buffer: %s is in %s byte order; expected the machine's, by order(ByteOrder.nativeOrder())",
        buffer,
        Memory.order(buffer));
    return new TensorView(
        Memory.address(buffer),
        dtype,
        Device.CPU,
        shape,
        UNKNOWN,
        (long) buffer.remaining() * Memory.elementBytes(buffer),
        null,
        null,
        buffer);
  }

  /**
   * Returns a view of the memory at an address. Size and lifetime of the memory are the caller's
   * responsibility.
   *
   * @throws IllegalArgumentException if the address is negative, or 0 and the shape is not empty,
   *     or if the tensor ends beyond 2^63 - 1
   */
  public static TensorView ofAddress(long address, DType dtype, Device device, long... shape) {
    return new TensorView(address, dtype, device, shape, UNKNOWN, UNKNOWN, null, null, null);
  }

  /**
   * Returns a view of a tensor with a stride for each dimension, as other libraries describe
   * theirs.
   *
   * <p>Shape and strides are folded into rows with one row stride: element {@code [i_0, .., i_n]}
   * is at
   *
   * <pre>{@code
   * address + dtype.bytes() * (i_0 * strides[0] + .. + i_n * strides[n])
   *   = address + dtype.bytes() * (row * rowStride() + i_n)
   * }</pre>
   *
   * with {@code row} the index among all rows, in row order. So the stride of the last dimension is
   * 1; the stride of the dimension before it is the row stride, at least the length of a row; the
   * stride of each further dimension is the stride times the size of the dimension after it. The
   * strides of dimensions of size 1 are ignored, as are all strides of a tensor without elements.
   * Transposed and broadcast tensors do not fold; {@link #foldsIntoRows} checks this.
   *
   * <pre>{@code
   * try (NativeBuffer theirs = NativeBuffer.allocate(DType.FLOAT32, 2, 4, 5)) {
   *   long[] shape = {2, 4, 3};      // the first 3 of 5 columns
   *   long[] strides = {20, 5, 1};
   *   TensorView part =
   *       TensorView.ofStrided(theirs.address(), DType.FLOAT32, Device.CPU, shape, strides)
   *           .withOwner(theirs);
   *   System.out.println(part);      // FLOAT32[2, 4, 3] with a row stride of 5 on cpu
   * }
   * }</pre>
   *
   * <p>The memory is not copied. As with {@link #ofAddress}, size and lifetime of the memory are
   * the caller's responsibility; {@link #withOwner} keeps its owner reachable. The view is
   * thread-safe; accesses to the memory are not synchronised.
   *
   * @param address the address of element {@code [0, .., 0]}
   * @param shape any number of dimensions; none for a single element
   * @param strides one for each dimension, in elements
   * @throws IllegalArgumentException if the number of strides is not that of dimensions, the
   *     strides do not fold or a dimension is negative, or as {@link #ofAddress}
   */
  public static TensorView ofStrided(
      long address, DType dtype, Device device, long[] shape, long[] strides) {
    long rowStride = Shapes.rowStride(shape, strides);
    return new TensorView(address, dtype, device, shape, rowStride, UNKNOWN, null, null, null);
  }

  /**
   * Returns whether {@link #ofStrided} can view a tensor of this shape with these strides, in
   * elements. If not, the other library can make a contiguous copy.
   *
   * @throws IllegalArgumentException if the number of strides is not that of dimensions, or a
   *     dimension is negative
   */
  public static boolean foldsIntoRows(long[] shape, long[] strides) {
    return Shapes.canFold(shape, strides);
  }

  static TensorView ofMemory(
      OwnedMemory memory, long address, long capacity, DType dtype, long... shape) {
    return new TensorView(
        address, dtype, memory.device(), shape, UNKNOWN, capacity, memory, null, null);
  }

  /**
   * Returns the same tensor with another row stride, in elements.
   *
   * @throws IllegalArgumentException if the stride is less than the length of a row, or the rows
   *     exceed the memory
   */
  public TensorView withRowStride(long elements) {
    checkArgument(
        elements >= 0,
        "rowStride: %s; expected at least the length of a row, %s",
        elements,
        rowLength);
    return new TensorView(
        address, dtype, device, shape, elements, capacity, memory, pointer, owner);
  }

  /**
   * Returns the same tensor, which also keeps the given object reachable. If that is a {@link
   * NativeBuffer}, a {@link CudaBuffer} or a JavaCPP pointer, operations on the view throw once it
   * is closed or deallocated.
   */
  public TensorView withOwner(Object keepAlive) {
    Objects.requireNonNull(keepAlive, "keepAlive: null; expected an object");
    if (memory == null && keepAlive instanceof OwnedMemory kept) {
      return new TensorView(
          address, dtype, device, shape, rowStride, capacity, kept, pointer, owner);
    }
    if (pointer == null && keepAlive instanceof Pointer kept) {
      return new TensorView(
          address, dtype, device, shape, rowStride, capacity, memory, kept, owner);
    }
    Object kept = owner == null ? keepAlive : new Object[] {owner, keepAlive};
    return new TensorView(
        address, dtype, device, shape, rowStride, capacity, memory, pointer, kept);
  }

  /**
   * Returns the same elements in another shape.
   *
   * @throws IllegalArgumentException if the number of elements differs, or the rows are not
   *     contiguous
   */
  public TensorView reshape(long... shape) {
    checkArgument(
        isContiguous(),
        "reshape: %s has gaps between its rows; expected a contiguous tensor",
        this);
    checkArgument(
        Shapes.elements(dtype, shape) == elements,
        "shape: %s has %s elements; expected %s, as %s has",
        Arrays.toString(shape),
        Shapes.elements(dtype, shape),
        elements,
        this);
    return new TensorView(address, dtype, device, shape, UNKNOWN, capacity, memory, pointer, owner);
  }

  /**
   * Returns rows {@code begin} to {@code end - 1}, all leading dimensions flattened: shape {@code
   * [end - begin, length of a row]}, with the same row stride.
   *
   * @throws IllegalArgumentException if the range is not within the rows
   */
  public TensorView rows(long begin, long end) {
    checkArgument(
        0 <= begin && begin <= end && end <= rowCount,
        "rows: %s to %s; expected a range within 0 to %s",
        begin,
        end,
        rowCount);
    long offset = begin * rowStride * dtype.bytes();
    return new TensorView(
        begin == end ? address : address + offset,
        dtype,
        device,
        new long[] {end - begin, rowLength},
        rowStride,
        capacity == UNKNOWN || begin == end ? capacity : capacity - offset,
        memory,
        pointer,
        owner);
  }

  /** Returns the address of the first element. */
  public long address() {
    return address;
  }

  /** Returns the number format of the elements. */
  public DType dtype() {
    return dtype;
  }

  /** Returns the device of the memory. */
  public Device device() {
    return device;
  }

  /** Returns a copy of the shape. */
  public long[] shape() {
    return shape.clone();
  }

  /** Returns the number of dimensions. */
  public int rank() {
    return shape.length;
  }

  /**
   * Returns the size of a dimension; -1 is the last one, -2 the one before it.
   *
   * @throws IndexOutOfBoundsException if the dimension does not exist
   */
  public long size(int dimension) {
    if (dimension < -shape.length || dimension >= shape.length) {
      throw new IndexOutOfBoundsException(
          "dimension: "
              + dimension
              + "; expected "
              + -shape.length
              + " to "
              + (shape.length - 1)
              + ", as the tensor has "
              + shape.length
              + " dimensions");
    }
    return shape[dimension < 0 ? dimension + shape.length : dimension];
  }

  /** Returns the number of elements, without gaps between rows. */
  public long elements() {
    return elements;
  }

  /** Returns the distance between the starts of neighbouring rows, in elements. */
  public long rowStride() {
    return rowStride;
  }

  /** Returns whether there are no gaps between the rows. */
  public boolean isContiguous() {
    return rowStride == rowLength || rowCount <= 1;
  }

  /**
   * Returns the number of rows if the last {@code normalizedDims} dimensions form a row: the
   * product of the others.
   *
   * @throws IllegalArgumentException if the tensor has fewer dimensions
   */
  public long rows(int normalizedDims) {
    checkArgument(
        0 <= normalizedDims && normalizedDims <= shape.length,
        "normalizedDims: %s; expected 0 to %s, the number of the tensor's dimensions",
        normalizedDims,
        shape.length);
    long rows = 1;
    for (int i = 0; i < shape.length - normalizedDims; i++) {
      rows *= shape[i];
    }
    return rows;
  }

  /**
   * Sets all elements from an array, in row order, rounding to nearest even; NaN becomes the
   * format's canonical quiet NaN, overflow infinity (FP8: the largest finite value).
   *
   * @return this
   * @throws IllegalArgumentException if the array's length is not the number of elements
   * @throws UnsupportedOperationException if the tensor is not in host memory, or is of {@link
   *     DType#FLOAT8_E8M0}, which conversions do not write
   */
  public TensorView copyFrom(float[] source) {
    return TensorCopies.fromFloats(this, source);
  }

  /**
   * Sets all elements from an array, in row order, rounding once to nearest even; NaN becomes the
   * format's canonical quiet NaN, overflow infinity (FP8: the largest finite value).
   *
   * @return this
   * @throws IllegalArgumentException if the array's length is not the number of elements
   * @throws UnsupportedOperationException if the tensor is not in host memory, or is of {@link
   *     DType#FLOAT8_E8M0}, which conversions do not write
   */
  public TensorView copyFrom(double[] source) {
    return TensorCopies.fromDoubles(this, source);
  }

  /**
   * Sets all elements from a tensor of the same shape and any dtype, rounding as {@link
   * #copyFrom(float[])} does. The two may be the same memory if dtype size and row stride are
   * equal; otherwise they must not overlap.
   *
   * @return this
   * @throws IllegalArgumentException if the shapes differ or the memory overlaps
   * @throws UnsupportedOperationException if one of the tensors is not in host memory, or this one
   *     is of {@link DType#FLOAT8_E8M0}, which conversions do not write
   */
  public TensorView copyFrom(TensorView source) {
    return TensorCopies.convert(this, source);
  }

  /**
   * Copies all elements of a tensor of the same shape and dtype, between a CUDA device and the
   * host, within a device or between devices, in stream order. Rows with gaps are copied one by
   * one.
   *
   * <p>Both tensors must stay valid, and host memory must not be accessed, until the stream has
   * completed the copy; {@link CudaStream#synchronize()} waits for that. The call itself may wait
   * if the host memory is not page-locked.
   *
   * @param stream a stream of the device that the source or the target is on
   * @return this
   * @throws IllegalArgumentException if an argument is null or closed, the shapes or dtypes differ,
   *     the two overlap, both are in host memory, or the stream is of another device
   * @throws UnsupportedOperationException if CUDA is not available
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  public TensorView copyFrom(TensorView source, CudaStream stream) {
    return TensorCopies.enqueue(this, source, stream);
  }

  /**
   * Returns all elements, in row order, as floats; float64 is rounded to nearest even, all other
   * conversions are exact.
   *
   * @throws IllegalArgumentException if there are more elements than an array holds
   * @throws UnsupportedOperationException if the tensor is not in host memory
   */
  public float[] toFloats() {
    return TensorCopies.toFloats(this);
  }

  /**
   * Returns all elements, in row order, as doubles, exactly.
   *
   * @throws IllegalArgumentException if there are more elements than an array holds
   * @throws UnsupportedOperationException if the tensor is not in host memory
   */
  public double[] toDoubles() {
    return TensorCopies.toDoubles(this);
  }

  /**
   * Returns the bytes of all elements, in row order and native byte order, without gaps between
   * rows.
   *
   * @throws IllegalArgumentException if there are more bytes than an array holds
   * @throws UnsupportedOperationException if the tensor is not in host memory
   */
  public byte[] toBytes() {
    return TensorCopies.toBytes(this);
  }

  /**
   * Returns, for example, {@code BFLOAT16[2, 4096] on cpu}, with the row stride if rows have gaps.
   */
  @Override
  public String toString() {
    return dtype
        + Arrays.toString(shape)
        + (isContiguous() ? "" : " with a row stride of " + rowStride)
        + " on "
        + device;
  }

  /** The number of rows: the product of all dimensions but the last. */
  long rowCount() {
    return rowCount;
  }

  /** The number of elements of a row: the last dimension, 1 if there is none. */
  long rowLength() {
    return rowLength;
  }

  /** The address of an element of a row. */
  long addressOf(long row, long column) {
    return address + (row * rowStride + column) * dtype.bytes();
  }

  /** Whether the memory ranges of the two tensors, including gaps between rows, overlap. */
  boolean overlaps(TensorView other) {
    return overlaps(other.address, other.extent);
  }

  boolean overlaps(long otherAddress, long otherBytes) {
    return extent > 0
        && otherBytes > 0
        && address < otherAddress + otherBytes
        && otherAddress < address + extent;
  }

  /** Whether the memory is writable, as far as its owner is known. */
  boolean isWritable() {
    return memory == null || memory.readOnly() == null;
  }

  /** The bytes from the first element to the end of the last one. */
  long extent() {
    return extent;
  }

  /** Rejects read-only memory, as far as its owner is known. */
  void requireWritable(String name) {
    String readOnly = memory == null ? null : memory.readOnly();
    if (readOnly != null) {
      throw new IllegalArgumentException(
          name
              + ": "
              + this
              + " is in "
              + readOnly
              + ", which is read-only; expected writable memory");
    }
  }

  boolean hasShape(long[] expected) {
    return Arrays.equals(shape, expected);
  }

  /** Whether the shape ends with the given dimensions. */
  boolean endsWith(long[] dimensions) {
    int offset = shape.length - dimensions.length;
    if (offset < 0) {
      return false;
    }
    for (int i = 0; i < dimensions.length; i++) {
      if (shape[offset + i] != dimensions[i]) {
        return false;
      }
    }
    return true;
  }

  /**
   * Marks the memory as in use, so that closing its buffer throws, until {@link #release(boolean)}.
   *
   * @return the argument for {@code release}
   */
  boolean acquire(String name) {
    // A view may have both a pointer to the memory and a buffer as its owner.
    if (pointer != null && pointer.isNull()) {
      throw new IllegalArgumentException(name + ": the Pointer under it has been deallocated");
    }
    if (memory == null) {
      return false;
    }
    if (!memory.guard().tryAcquire()) {
      throw new IllegalArgumentException(
          name + ": the " + memory.name() + " under it is closed; expected an open one");
    }
    return true;
  }

  /** As {@link #acquire}, for a tensor that is written. */
  boolean acquireToWrite(String name) {
    requireWritable(name);
    return acquire(name);
  }

  void release(boolean acquired) {
    if (acquired && memory != null) {
      memory.guard().release();
    }
  }

  static TensorView required(String name, @Nullable TensorView view) {
    if (view == null) {
      throw new IllegalArgumentException(name + ": null; expected a tensor");
    }
    return view;
  }
}
