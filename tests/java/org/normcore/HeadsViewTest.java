package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT32;

import java.util.BitSet;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.normcore.HeadsView.Order;

class HeadsViewTest {
  private static final int BASE = 1 << 20;

  private static TensorView memory(DType dtype, long... shape) {
    return TensorView.ofAddress(BASE, dtype, Device.CPU, shape);
  }

  @Test
  void tensorsInEitherOrder() {
    HeadsView tokens = HeadsView.of(memory(BFLOAT16, 2, 5, 3, 8));
    assertArrayEquals(new long[] {2, 5, 3, 8}, tokens.shape());
    assertArrayEquals(new long[] {120, 24, 8}, tokens.strides());
    HeadsView heads = HeadsView.of(memory(BFLOAT16, 2, 3, 5, 8), Order.BATCH_HEADS_SEQ);
    assertArrayEquals(new long[] {2, 5, 3, 8}, heads.shape());
    assertArrayEquals(new long[] {120, 8, 40}, heads.strides());
    HeadsView one = HeadsView.of(memory(BFLOAT16, 5, 3, 8));
    assertArrayEquals(new long[] {1, 5, 3, 8}, one.shape());
    HeadsView gaps = HeadsView.of(memory(BFLOAT16, 2, 5, 3, 8).withRowStride(10));
    assertArrayEquals(new long[] {150, 30, 10}, gaps.strides());
    assertEquals(BFLOAT16, gaps.dtype());
    assertEquals(Device.CPU, gaps.device());
    assertEquals(BASE, gaps.address());
    assertEquals("BFLOAT16 heads [2, 5, 3, 8] at strides [150, 30, 10] on cpu", gaps.toString());
  }

  @Test
  void parts() {
    HeadsView all = HeadsView.of(memory(BFLOAT16, 2, 5, 6, 8));
    HeadsView part = all.heads(2, 6).tokens(1, 4).dims(3, 7);
    assertArrayEquals(new long[] {2, 3, 4, 4}, part.shape());
    assertArrayEquals(all.strides(), part.strides());
    assertEquals(BASE + 2 * (2 * 8 + 48 + 3), part.address());
    assertEquals(BASE, all.heads(6, 6).address());
    assertEquals(0, all.heads(6, 6).heads());
    assertEquals(BASE, all.heads(1, 1).tokens(2, 3).address());
    HeadsView explicit =
        HeadsView.of(memory(BFLOAT16, 480), 67, new long[] {2, 3, 4, 4}, new long[] {240, 48, 8});
    assertEquals(part.address(), explicit.address());
    assertTrue(part.isInPlaceOf(explicit));
    assertFalse(part.isInPlaceOf(all.heads(2, 6).tokens(1, 4).dims(2, 6)));
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void wrongArgumentsAreRefused() {
    long[] shape = {2, 5, 3, 8};
    long[] strides = {120, 24, 8};
    assertRefused(() -> HeadsView.of(null), "tensor: null");
    assertRefused(
        () -> HeadsView.of(memory(FLOAT32, 2, 5, 3, 8), (Order) null), "order: null", "SEQ_HEADS");
    assertRefused(() -> HeadsView.of(memory(FLOAT32, 3, 8)), "tensor: ", "[batch, seq, heads");
    assertRefused(() -> HeadsView.of(memory(FLOAT32, 1, 1, 2, 3, 8)), "tensor: ", "4 dimensions");
    TensorView enough = memory(FLOAT32, 240);
    HeadsView.of(enough, 0, shape, strides);
    assertRefused(() -> HeadsView.of(null, 0, shape, strides), "memory: null");
    assertRefused(
        () -> HeadsView.of(memory(FLOAT32, 2, 8).withRowStride(9), 0, shape, strides), "gaps");
    assertRefused(() -> HeadsView.of(enough, 1, shape, strides), "memory: 240", "at least 241");
    assertRefused(() -> HeadsView.of(enough, -1, shape, strides), "offset: -1");
    assertRefused(() -> HeadsView.of(enough, 0, null, strides), "shape: null");
    assertRefused(() -> HeadsView.of(enough, 0, shape, null), "strides: null");
    assertRefused(() -> HeadsView.of(enough, 0, new long[3], strides), "shape: [0, 0, 0]");
    assertRefused(() -> HeadsView.of(enough, 0, shape, new long[] {1, 2}), "strides: [1, 2]");
    assertRefused(() -> HeadsView.of(enough, 0, shape, new long[] {120, -24, 8}), "-24");
    assertRefused(
        () -> HeadsView.of(enough, 0, shape, new long[] {Long.MAX_VALUE, 24, 8}), "memory: 240");
    assertRefused(
        () -> HeadsView.of(enough, Long.MAX_VALUE, shape, strides), "memory: 240 elements");
    HeadsView heads = HeadsView.of(enough, 0, shape, strides);
    assertRefused(() -> heads.heads(1, 4), "heads: 1 to 4", "0 to 3");
    assertRefused(() -> heads.heads(2, 1), "heads: 2 to 1");
    assertRefused(() -> heads.tokens(-1, 1), "tokens: -1 to 1", "0 to 5");
    assertRefused(() -> heads.dims(0, 9), "dims: 0 to 9", "0 to 8");
    // An empty view is within any bounds.
    HeadsView.of(enough, 240, new long[] {2, 0, 3, 8}, new long[] {1 << 20, 1 << 20, 8});
  }

  private static BitSet elements(HeadsView view) {
    BitSet all = new BitSet();
    long[] strides = view.strides();
    int base = (int) (view.address() - BASE) / view.dtype().bytes();
    for (long b = 0; b < view.batch(); b++) {
      for (long s = 0; s < view.seq(); s++) {
        for (long h = 0; h < view.heads(); h++) {
          int at = base + (int) (b * strides[0] + s * strides[1] + h * strides[2]);
          all.set(at, at + (int) view.headDim());
        }
      }
    }
    return all;
  }

  /**
   * The overlap test of interleaved memory against sets of elements: exact if the strides are equal
   * or a dimension has size 1; otherwise it never misses an overlap.
   */
  @Test
  void overlapMatchesElementSets() {
    TensorView memory = memory(BFLOAT16, 4096);
    SplittableRandom random = new SplittableRandom(11);
    int[] answers = new int[2];
    int assumed = 0;
    for (int round = 0; round < 200_000; round++) {
      long[] strides = {random.nextInt(60), random.nextInt(30), random.nextInt(12)};
      long[] others = strides.clone();
      boolean same = round % 4 > 0;
      if (!same) {
        others[random.nextInt(3)] = random.nextInt(60);
      }
      HeadsView a = heads(memory, random, strides);
      HeadsView b = heads(memory, random, others);
      boolean meet = elements(a).intersects(elements(b));
      boolean answer = a.overlaps(b);
      assertEquals(answer, b.overlaps(a));
      if (same) {
        assertEquals(meet, answer, a + " from " + a.address() + ", " + b + " from " + b.address());
        answers[meet ? 1 : 0]++;
      } else {
        assertTrue(answer || !meet, a + ", " + b);
        assumed += answer && !meet ? 1 : 0;
      }
      if (!a.hasDistinctElements()) {
        continue;
      }
      long count = a.batch() * a.seq() * a.heads() * a.headDim();
      assertEquals(count, elements(a).cardinality(), a.toString());
    }
    assertTrue(answers[0] > 10_000 && answers[1] > 10_000, answers[0] + ", " + answers[1]);
    assertTrue(assumed > 0);
  }

  private static HeadsView heads(TensorView memory, SplittableRandom random, long[] strides) {
    long[] shape = {
      random.nextInt(4), 1 + random.nextInt(4), 1 + random.nextInt(4), 1 + random.nextInt(6)
    };
    return HeadsView.of(memory, random.nextInt(200), shape, strides);
  }

  /** The parts of a fused projection, and tensors of other element sizes. */
  @Test
  void partsOfOneTensorDoNotOverlap() {
    for (Order order : Order.values()) {
      HeadsView qkv = HeadsView.of(memory(BFLOAT16, 2, 7, 7, 8), order);
      HeadsView q = qkv.heads(0, 4);
      HeadsView k = qkv.heads(4, 5);
      assertFalse(q.overlaps(k));
      assertFalse(k.overlaps(q));
      assertTrue(q.overlaps(qkv.heads(3, 4)));
      assertFalse(qkv.tokens(0, 3).overlaps(qkv.tokens(3, 7)));
      assertTrue(qkv.tokens(0, 4).overlaps(qkv.tokens(3, 7)));
      assertFalse(qkv.dims(0, 3).overlaps(qkv.dims(3, 8)));
      assertTrue(qkv.dims(0, 4).overlaps(qkv.dims(3, 8)));
      assertTrue(q.hasDistinctElements());
    }
    HeadsView wide = HeadsView.of(memory(FLOAT32, 2, 7, 7, 8));
    assertTrue(wide.overlaps(HeadsView.of(memory(BFLOAT16, 2, 7, 7, 8))));
    HeadsView after =
        HeadsView.of(TensorView.ofAddress(BASE + 3136, BFLOAT16, Device.CPU, 1, 1, 8));
    assertFalse(wide.overlaps(after));
    assertFalse(after.overlaps(wide));
  }
}
