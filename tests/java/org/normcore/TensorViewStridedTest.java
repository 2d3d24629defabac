package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT8_E4M3;

import java.util.Arrays;
import java.util.OptionalLong;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.bytedeco.javacpp.FloatPointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Views of tensors with a stride for each dimension. */
class TensorViewStridedTest {
  private static final long ADDRESS = 1L << 40;
  private static final int[] SIZES = {0, 1, 2, 3};

  private long accepted;
  private long refused;

  private static TensorView strided(long[] shape, long[] strides) {
    return TensorView.ofStrided(ADDRESS, FLOAT32, Device.CPU, shape, strides);
  }

  private static long[] of(long... values) {
    return values;
  }

  /** The offset of each element from the first one, in row order. */
  private static long[] offsets(long[] shape, long[] strides) {
    int elements = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
    long[] offsets = new long[elements];
    int[] index = new int[shape.length];
    for (int e = 0; e < elements; e++) {
      for (int d = 0; d < shape.length; d++) {
        offsets[e] += index[d] * strides[d];
      }
      for (int d = shape.length - 1; d >= 0 && ++index[d] == shape[d]; d--) {
        index[d] = 0;
      }
    }
    return offsets;
  }

  /** The row stride that gives each element the same offset as the strides do, if there is one. */
  private static OptionalLong oracle(long[] shape, long[] strides) {
    int rowLength = shape.length == 0 ? 1 : (int) shape[shape.length - 1];
    long[] offsets = offsets(shape, strides);
    long rowStride = offsets.length > rowLength ? offsets[rowLength] : rowLength;
    for (int e = 0; e < offsets.length; e++) {
      if (offsets[e] != e / rowLength * rowStride + e % rowLength) {
        return OptionalLong.empty();
      }
    }
    return rowStride < rowLength ? OptionalLong.empty() : OptionalLong.of(rowStride);
  }

  private void check(long[] shape, long[] strides) {
    OptionalLong expected = oracle(shape, strides);
    String tensor = Arrays.toString(strides) + " with shape " + Arrays.toString(shape);
    assertEquals(expected.isPresent(), TensorView.foldsIntoRows(shape, strides), tensor);
    if (expected.isPresent()) {
      TensorView view = strided(shape, strides);
      assertEquals(expected.getAsLong(), view.rowStride(), tensor);
      assertArrayEquals(shape, view.shape());
      assertEquals(ADDRESS, view.address());
      accepted++;
    } else {
      assertRefused(() -> strided(shape, strides), "strides: " + tensor + "; expected ");
      refused++;
    }
  }

  private static void assertRefused(Executable call, String start) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.startsWith(start), message);
  }

  private static long[] shape(int rank, int number) {
    long[] shape = new long[rank];
    for (int d = 0; d < rank; d++, number /= SIZES.length) {
      shape[d] = SIZES[number % SIZES.length];
    }
    return shape;
  }

  private static int shapes(int rank) {
    return (int) Math.pow(SIZES.length, rank);
  }

  /** Strides of a tensor whose dimensions are in memory in the given order, slowest first. */
  private static long[] inOrder(long[] shape, int[] order, long padding) {
    long[] strides = new long[shape.length];
    long stride = 1;
    for (int i = order.length - 1; i >= 0; i--) {
      strides[order[i]] = stride;
      stride *= Math.max(1, shape[order[i]]);
      stride += i == order.length - 1 ? padding : 0;
    }
    return strides;
  }

  private static int[][] orders(int rank) {
    if (rank == 0) {
      return new int[][] {{}};
    }
    return Arrays.stream(orders(rank - 1))
        .flatMap(
            order ->
                IntStream.range(0, rank)
                    .mapToObj(
                        at -> {
                          int[] longer = new int[rank];
                          System.arraycopy(order, 0, longer, 0, at);
                          longer[at] = rank - 1;
                          System.arraycopy(order, at, longer, at + 1, rank - 1 - at);
                          return longer;
                        }))
        .toArray(int[][]::new);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 4, 5})
  void foldsTensorsWithOneRowStride(int rank) {
    int[][] orders = orders(rank);
    for (int number = 0; number < shapes(rank); number++) {
      long[] shape = shape(rank, number);
      for (long padding : of(0, 1, 4)) {
        for (int[] order : orders) {
          check(shape, inOrder(shape, order, padding));
        }
      }
    }
    assertTrue(accepted > 0 && (refused > 0 || rank < 2), accepted + " and " + refused);
  }

  /** Changes one stride of a row-major tensor, with or without gaps between its rows. */
  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 5})
  void oneStrideDiffers(int rank) {
    int[] rowMajor = IntStream.range(0, rank).toArray();
    for (int number = 0; number < shapes(rank); number++) {
      long[] shape = shape(rank, number);
      for (long padding : of(0, 3)) {
        for (int d = 0; d < rank; d++) {
          long[] strides = inOrder(shape, rowMajor, padding);
          long stride = strides[d];
          for (long other : of(0, 1, 2, -1, -stride, stride - 1, stride + 1, 2 * stride, 1000)) {
            strides[d] = other;
            check(shape, strides);
          }
        }
      }
    }
    assertTrue(accepted > 0 && refused > 0, accepted + " and " + refused);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void allSmallStrides(int rank) {
    int low = -2;
    int count = 10;
    for (int number = 0; number < shapes(rank); number++) {
      long[] shape = shape(rank, number);
      for (int choice = 0; choice < Math.pow(count, rank); choice++) {
        long[] strides = new long[rank];
        for (int d = 0, rest = choice; d < rank; d++, rest /= count) {
          strides[d] = low + rest % count;
        }
        check(shape, strides);
      }
    }
    assertTrue(accepted > 0 && refused > 0, accepted + " and " + refused);
  }

  @Test
  void stridesOfDimensionsOfSizeOneAreIgnored() {
    long[] any = of(Long.MIN_VALUE, -1, 0, 1, 7, Long.MAX_VALUE);
    for (long a : any) {
      for (long b : any) {
        assertEquals(5, strided(of(1, 2, 1, 3), of(a, 5, b, 1)).rowStride());
        assertEquals(5, strided(of(2, 1, 3, 1, 1), of(15, a, 5, b, a)).rowStride());
        assertEquals(1, strided(of(1, 1), of(a, b)).rowStride());
        assertEquals(3, strided(of(1, 1, 3), of(a, b, 1)).rowStride());
        assertRefused(() -> strided(of(1, 2, 1, 3), of(a, 2, b, 1)), "strides: ");
      }
    }
  }

  @Test
  void stridesOfTensorsWithoutElementsAreIgnored() {
    for (long any : of(Long.MIN_VALUE, -1, 0, 1, Long.MAX_VALUE)) {
      for (long[] shape : new long[][] {{0, 3}, {3, 0}, {2, 0, 4}, {0, Long.MAX_VALUE}}) {
        long[] strides = LongStream.generate(() -> any).limit(shape.length).toArray();
        TensorView view = TensorView.ofStrided(0, BFLOAT16, Device.cuda(1), shape, strides);
        assertEquals(0, view.elements());
        assertEquals(shape[shape.length - 1], view.rowStride());
        assertTrue(view.isContiguous());
      }
    }
  }

  @Test
  void messagesStateTheExpectation() {
    assertMessage(
        "strides: [1, 2] with shape [2, 3]; expected contiguous rows, 1 in the last dimension",
        () -> strided(of(2, 3), of(1, 2)));
    assertMessage(
        "strides: [0, 1] with shape [2, 3]; expected rows that do not overlap, at least 3 apart",
        () -> strided(of(2, 3), of(0, 1)));
    assertMessage(
        "strides: [-3, 1] with shape [2, 3]; expected rows that do not overlap, at least 3 apart",
        () -> strided(of(2, 3), of(-3, 1)));
    assertMessage(
        "strides: [20, 9, 5, 1] with shape [2, 1, 3, 4]; expected rows at equal distances:"
            + " 15 in dimension 0",
        () -> strided(of(2, 1, 3, 4), of(20, 9, 5, 1)));
    assertMessage(
        "strides: [3] with shape [2]; expected contiguous rows, 1 in the last dimension",
        () -> strided(of(2), of(3)));
  }

  private static void assertMessage(String expected, Executable call) {
    assertEquals(expected, assertThrows(IllegalArgumentException.class, call).getMessage());
  }

  @Test
  void stridesAreCheckedBeforeTheAddress() {
    for (long address : of(0, -8)) {
      assertRefused(
          () -> TensorView.ofStrided(address, FLOAT32, Device.CPU, of(2, 3), of(1, 2)),
          "strides: [1, 2]");
      assertRefused(
          () -> TensorView.ofStrided(address, FLOAT32, Device.CPU, of(2, 3), of(3, 1)),
          "address: " + address);
    }
  }

  @Test
  void distancesBeyondTheAddressSpaceAreRefused() {
    long huge = 1L << 62;
    // The distance of the outer dimension would be 2^64, which is 0 modulo 2^64.
    for (long outer : of(0, 8, Long.MAX_VALUE)) {
      assertMessage(
          "strides: ["
              + outer
              + ", "
              + huge
              + ", 1] with shape [2, 4, 3]; expected a tensor within the address space",
          () -> strided(of(2, 4, 3), of(outer, huge, 1)));
      assertFalse(TensorView.foldsIntoRows(of(2, 4, 3), of(outer, huge, 1)));
    }
    assertRefused(
        () -> strided(of(2, 3), of(Long.MAX_VALUE, 1)), "shape: [2, 3] with a row stride");
    assertRefused(() -> strided(of(1L << 40, 1L << 40), of(1L << 40, 1)), "shape: ");
    assertRefused(() -> strided(of(Long.MAX_VALUE, 1), of(1, 1)), "shape: ");

    // The last byte of the address space.
    long most = Long.MAX_VALUE - ADDRESS - 3;
    TensorView view =
        TensorView.ofStrided(ADDRESS, FLOAT8_E4M3, Device.CPU, of(1, 2, 3), of(0, most, 1));
    assertEquals(most, view.rowStride());
    assertRefused(
        () -> TensorView.ofStrided(ADDRESS, FLOAT8_E4M3, Device.CPU, of(2, 3), of(most + 1, 1)),
        "address: " + ADDRESS);
  }

  @Test
  void mismatchedArgumentsAreRefused() {
    assertNamed("dtype", () -> TensorView.ofStrided(64, null, Device.CPU, of(1), of(1)));
    assertNamed("device", () -> TensorView.ofStrided(64, FLOAT32, null, of(1), of(1)));
    assertNamed("shape", () -> strided(null, of(1)));
    assertNamed("strides", () -> strided(of(1), null));
    assertNamed("shape", () -> TensorView.foldsIntoRows(null, of(1)));
    assertNamed("strides", () -> TensorView.foldsIntoRows(of(1), null));
    assertMessage(
        "strides: [3, 1]; expected 3 of them, one for each dimension of shape [2, 1, 3]",
        () -> strided(of(2, 1, 3), of(3, 1)));
    assertRefused(() -> strided(of(), of(1)), "strides: [1]; expected 0");
    assertRefused(() -> TensorView.foldsIntoRows(of(0, 3), of(1)), "strides: [1]; expected 2");
    assertMessage(
        "shape: [2, -1]; expected no negative dimension", () -> strided(of(2, -1), of(1, 1)));
    assertRefused(() -> TensorView.foldsIntoRows(of(0, -3), of(1, 1)), "shape: [0, -3]");
  }

  private static void assertNamed(String argument, Executable call) {
    String message = assertThrows(NullPointerException.class, call).getMessage();
    assertTrue(message.startsWith(argument + ": null; expected "), message);
  }

  @Test
  void argumentsAreKept() {
    long[] shape = {2, 3};
    long[] strides = {5, 1};
    TensorView view = TensorView.ofStrided(4096, BFLOAT16, Device.cuda(2), shape, strides);
    Arrays.fill(shape, 9);
    Arrays.fill(strides, 9);
    assertEquals("BFLOAT16[2, 3] with a row stride of 5 on cuda:2", view.toString());
    assertEquals(4096, view.address());
    assertEquals(
        "FLOAT32[] on cpu", TensorView.ofStrided(64, FLOAT32, Device.CPU, of(), of()).toString());
  }

  /** The example of the documentation, and the elements that the view reads and writes. */
  @Test
  void elementAddressesMatchStrides() {
    try (NativeBuffer theirs = NativeBuffer.allocate(FLOAT32, 2, 4, 5)) {
      long[] shape = {2, 4, 3};
      long[] strides = {20, 5, 1};
      TensorView whole = theirs.view(FLOAT32, 40);
      double[] random = new Random(7).doubles(40).map(x -> (float) x).toArray();
      whole.copyFrom(random);
      TensorView part =
          TensorView.ofStrided(theirs.address(), FLOAT32, Device.CPU, shape, strides)
              .withOwner(theirs);
      assertEquals("FLOAT32[2, 4, 3] with a row stride of 5 on cpu", part.toString());
      long[] offsets = offsets(shape, strides);
      assertArrayEquals(
          Arrays.stream(offsets).mapToDouble(at -> random[(int) at]).toArray(), part.toDoubles());

      part.copyFrom(new double[24]);
      for (long at : offsets) {
        random[(int) at] = 0;
      }
      assertArrayEquals(random, whole.toDoubles());
    }
  }

  @Test
  void viewOfAClosedOwnerIsRefused() {
    NativeBuffer buffer = NativeBuffer.allocate(64);
    TensorView ofBuffer =
        TensorView.ofStrided(buffer.address(), FLOAT32, Device.CPU, of(2, 3), of(4, 1))
            .withOwner(buffer);
    buffer.close();
    assertRefused(ofBuffer::toFloats, "tensor: the NativeBuffer under it is closed");

    try (NativeBuffer open = NativeBuffer.allocate(4)) {
      FloatPointer pointer = new FloatPointer(16);
      TensorView ofPointer =
          TensorView.ofStrided(pointer.address(), FLOAT32, Device.CPU, of(2, 3), of(4, 1))
              .withOwner(open)
              .withOwner(pointer)
              .withOwner(new Object());
      assertEquals(6, ofPointer.toFloats().length);
      pointer.deallocate();
      assertRefused(ofPointer::toFloats, "tensor: the Pointer under it has been deallocated");
      assertRefused(() -> ofPointer.rows(0, 1).toFloats(), "tensor: the Pointer under it");
    }
  }
}
