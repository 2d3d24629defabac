package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executor;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.normcore.testing.Arena;
import org.normcore.testing.RotaryModel;
import org.normcore.testing.RotaryModel.Heads;

/** The op against its formula, bit for bit; its invariants; its refusals. */
class RotaryTest {
  private static final DType[] TYPES = {FLOAT32, BFLOAT16, FLOAT16};

  private static Rotary.Builder builder(
      int headDim, DType dtype, DType table, RotaryLayout layout, RotaryRounding rounding) {
    return Rotary.builder(headDim).dtype(dtype).tableDType(table).layout(layout).rounding(rounding);
  }

  /** Large and small positions, unordered, some of them repeated. */
  private static RotaryTable table(int rotaryDim, DType dtype, int batch, int seq) {
    RotaryTable.Builder builder =
        RotaryTable.builder(RotarySpec.builder(rotaryDim).build()).dtype(dtype).parallel(false);
    if (batch == 0) {
      return builder.range(3, seq);
    }
    long[][] positions = new long[batch][seq];
    for (int b = 0; b < batch; b++) {
      for (int s = 0; s < seq; s++) {
        positions[b][s] = (b * 7919L + s * 31L) % 5000;
      }
    }
    return builder.positions(positions);
  }

  record Form(DType dtype, DType table, RotaryLayout layout, RotaryRounding rounding) {}

  static Stream<Form> forms() {
    List<Form> all = new ArrayList<>();
    for (DType dtype : TYPES) {
      for (DType table : TYPES) {
        for (RotaryLayout layout : RotaryLayout.values()) {
          for (RotaryRounding rounding : RotaryRounding.values()) {
            all.add(new Form(dtype, table, layout, rounding));
          }
        }
      }
    }
    return all.stream();
  }

  /**
   * Forward and backward, sizes around the vector's, both memory orders on both sides, gaps,
   * misaligned memory, tables for all batches and for each.
   */
  @ParameterizedTest
  @MethodSource("forms")
  void everyFormMatchesTheFormula(Form form) {
    int[][] dims = {{2, 2}, {6, 4}, {16, 16}, {34, 34}, {66, 18}, {80, 64}, {128, 128}, {257, 256}};
    int turn = 0;
    for (int[] dim : dims) {
      for (boolean backward : new boolean[] {false, true}) {
        turn++;
        int batch = 1 + turn % 3;
        int seq = 1 + turn % 5;
        int heads = 1 + turn % 4;
        boolean perBatch = turn % 2 == 0;
        try (Arena arena = new Arena();
            RotaryTable table = table(dim[1], form.table, perBatch ? batch : 0, seq);
            Rotary rotary =
                builder(dim[0], form.dtype, form.table, form.layout, form.rounding)
                    .rotaryDim(dim[1])
                    .build()) {
          long[] shape = {batch, seq, heads, dim[0]};
          Heads x = Heads.random(arena, form.dtype, turn % 4 < 2, turn % 3, turn % 5, turn, shape);
          Heads y = Heads.random(arena, form.dtype, turn % 3 > 0, turn % 4, turn % 7, -turn, shape);
          float[] expected =
              RotaryModel.turned(
                  x,
                  y,
                  table.cos().toFloats(),
                  table.sin().toFloats(),
                  perBatch,
                  dim[1],
                  form.layout,
                  form.rounding,
                  backward);
          if (backward) {
            rotary.backward(table, x.view(), y.view());
          } else {
            rotary.forward(table, x.view(), y.view());
          }
          assertArrayEquals(expected, y.memory().toFloats(), rotary + ", turn " + turn);
          arena.assertGuards();
        }
      }
    }
  }

  /** The inverse rotation restores the input up to roundings: each rotation rounds a few times. */
  @ParameterizedTest
  @EnumSource
  void backwardIsTheTranspose(RotaryLayout layout) {
    try (Arena arena = new Arena();
        RotaryTable table = table(64, FLOAT32, 0, 40);
        Rotary rotary = builder(64, FLOAT32, FLOAT32, layout, RotaryRounding.COMPUTE).build()) {
      Heads x = Heads.random(arena, FLOAT32, true, 0, 0, 1, 2, 40, 3, 64);
      float[] before = x.memory().toFloats();
      rotary.forward(table, x.view(), x.view());
      rotary.backward(table, x.view(), x.view());
      float[] after = x.memory().toFloats();
      for (int i = 0; i < before.length; i++) {
        // Per rotation: cos, sin (half a unit of 2^-24 each), three operations; of values up to 5.
        assertEquals(before[i], after[i], 5 * 10 * 0x1p-24, "element " + i);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("forms")
  void inPlaceAndFusedGiveTheSameBits(Form form) {
    int batch = 2;
    int seq = 9;
    for (boolean seqFirst : new boolean[] {true, false}) {
      try (Arena arena = new Arena();
          RotaryTable table = table(32, form.table, 0, seq);
          Rotary rotary =
              builder(40, form.dtype, form.table, form.layout, form.rounding)
                  .rotaryDim(32)
                  .build()) {
        // Four query heads, two key heads, two value heads, in the layout of a fused projection.
        Heads qkv = Heads.random(arena, form.dtype, seqFirst, 1, 1, 5, batch, seq, 8, 40);
        HeadsView q = qkv.view().heads(0, 4);
        HeadsView k = qkv.view().heads(4, 6);
        Heads qOut = Heads.random(arena, form.dtype, true, 0, 0, 6, batch, seq, 4, 40);
        Heads kOut = Heads.random(arena, form.dtype, false, 0, 0, 7, batch, seq, 2, 40);
        byte[] values = contents(qkv.view().heads(6, 8));

        rotary.forward(table, q, qOut.view(), k, kOut.view());
        rotary.forward(table, q, q, k, k);
        assertArrayEquals(contents(qOut.view()), contents(q), "q in place");
        assertArrayEquals(contents(kOut.view()), contents(k), "k in place");

        rotary.backward(table, q, qOut.view(), k, kOut.view());
        rotary.backward(table, q, q);
        rotary.backward(table, k, k);
        assertArrayEquals(contents(qOut.view()), contents(q), "dq in place");
        assertArrayEquals(contents(kOut.view()), contents(k), "dk in place");
        assertArrayEquals(values, contents(qkv.view().heads(6, 8)), "values");
        arena.assertGuards();
      }
    }
  }

  /** The elements of heads, without gaps, in the order of their indices. */
  static byte[] contents(HeadsView heads) {
    long[] shape = heads.shape();
    long[] strides = heads.strides();
    int bytes = heads.dtype().bytes();
    int head = (int) shape[3] * bytes;
    byte[] all = new byte[(int) (shape[0] * shape[1] * shape[2]) * head];
    int at = 0;
    for (long b = 0; b < shape[0]; b++) {
      for (long s = 0; s < shape[1]; s++) {
        for (long h = 0; h < shape[2]; h++) {
          long address =
              heads.address() + (b * strides[0] + s * strides[1] + h * strides[2]) * bytes;
          TensorView row = TensorView.ofAddress(address, heads.dtype(), Device.CPU, shape[3]);
          System.arraycopy(row.toBytes(), 0, all, at, head);
          at += head;
        }
      }
    }
    return all;
  }

  /** Vector levels, numbers of threads, executors: enough tokens for several ranges. */
  @ParameterizedTest
  @MethodSource("forms")
  void levelsThreadsAndExecutorsGiveTheSameBits(Form form) {
    try (Arena arena = new Arena();
        RotaryTable table = table(48, form.table, 3, 101)) {
      Heads x = Heads.random(arena, form.dtype, true, 3, 1, 8, 3, 101, 31, 64);
      Heads y = Heads.random(arena, form.dtype, false, 0, 0, 9, 3, 101, 31, 64);
      byte[] forward = null;
      byte[] backward = null;
      int turn = 0;
      List<Executor> executors =
          List.of(ForkJoinPool.commonPool(), Runnable::run, task -> new Thread(task).start());
      for (VectorLevel level : VectorLevel.values()) {
        if (!level.isSupported()) {
          continue;
        }
        for (int threads : new int[] {1, 2, 5}) {
          Executor executor = executors.get(turn++ % executors.size());
          String what = level + ", " + threads + " threads, executor " + executor;
          try (Rotary rotary =
              builder(64, form.dtype, form.table, form.layout, form.rounding)
                  .rotaryDim(48)
                  .vectorLevel(level)
                  .threads(threads)
                  .executor(executor)
                  .build()) {
            rotary.forward(table, x.view(), y.view());
            byte[] bits = y.memory().toBytes();
            forward = forward == null ? bits : forward;
            assertArrayEquals(forward, bits, what);
            rotary.backward(table, x.view(), y.view());
            bits = y.memory().toBytes();
            backward = backward == null ? bits : backward;
            assertArrayEquals(backward, bits, what);
          }
        }
      }
      assertFalse(Arrays.equals(forward, backward));
    }
  }

  /** A slice of a long table rotates the next token exactly as the whole table does. */
  @Test
  void decodingStepByStep() {
    try (Arena arena = new Arena();
        RotaryTable table = table(64, BFLOAT16, 0, 20);
        Rotary rotary =
            builder(64, BFLOAT16, BFLOAT16, RotaryLayout.HALF_SPLIT, RotaryRounding.INPUT)
                .build()) {
      Heads x = Heads.random(arena, BFLOAT16, false, 2, 0, 3, 2, 20, 3, 64);
      Heads whole = Heads.random(arena, BFLOAT16, true, 0, 0, 4, 2, 20, 3, 64);
      Heads parts = Heads.random(arena, BFLOAT16, true, 0, 0, 5, 2, 20, 3, 64);
      rotary.forward(table, x.view(), whole.view());
      for (int s = 0; s < 20; s++) {
        try (RotaryTable step = table.slice(s, s + 1)) {
          rotary.forward(step, x.view().tokens(s, s + 1), parts.view().tokens(s, s + 1));
        }
      }
      assertArrayEquals(contents(whole.view()), contents(parts.view()));
      arena.assertGuards();
    }
  }

  @Test
  void zeroTokensOrHeads() {
    try (Arena arena = new Arena();
        RotaryTable none = table(8, FLOAT32, 0, 0);
        RotaryTable three = table(8, FLOAT32, 0, 3);
        RotaryTable noBatches =
            RotaryTable.builder(three.spec()).dtype(FLOAT32).positions(new long[0][]);
        Rotary rotary =
            builder(8, FLOAT32, FLOAT32, RotaryLayout.INTERLEAVED, RotaryRounding.COMPUTE)
                .build()) {
      List<byte[]> before = arena.snapshot();
      HeadsView noTokens = HeadsView.of(arena.tensor(FLOAT32, 2, 0, 4, 8));
      HeadsView noBatch = HeadsView.of(arena.tensor(FLOAT32, 0, 3, 4, 8));
      HeadsView noHeads = HeadsView.of(arena.tensor(FLOAT32, 2, 3, 0, 8));
      rotary.forward(none, noTokens, noTokens);
      rotary.forward(three, noBatch, noBatch);
      rotary.forward(noBatches, noBatch, noBatch);
      rotary.backward(noBatches, noBatch, noBatch, noBatch, noBatch);
      assertRefused(() -> rotary.forward(noBatches, noHeads, noHeads), "table: ", "[0, 0]");
      rotary.forward(three, noHeads, noHeads, noHeads, noHeads);
      rotary.backward(three, noHeads, noHeads);
      arena.assertUnchanged(before, "turning nothing");
    }
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void wrongArgumentsAreRefusedAndNothingIsWritten() {
    try (Arena arena = new Arena();
        RotaryTable table = table(16, BFLOAT16, 0, 5);
        RotaryTable perBatch = table(16, BFLOAT16, 2, 5);
        RotaryTable wide = table(32, BFLOAT16, 0, 5);
        RotaryTable exact = table(16, FLOAT32, 0, 5);
        Rotary rotary =
            builder(24, BFLOAT16, BFLOAT16, RotaryLayout.HALF_SPLIT, RotaryRounding.INPUT)
                .rotaryDim(16)
                .build()) {
      Heads x = Heads.random(arena, BFLOAT16, true, 0, 0, 1, 2, 5, 3, 24);
      Heads y = Heads.random(arena, BFLOAT16, true, 0, 0, 2, 2, 5, 3, 24);
      Heads k = Heads.random(arena, BFLOAT16, true, 0, 0, 3, 2, 5, 1, 24);
      Heads kOut = Heads.random(arena, BFLOAT16, true, 0, 0, 4, 2, 5, 1, 24);
      HeadsView q = x.view();
      HeadsView qOut = y.view();
      List<byte[]> before = arena.snapshot();

      assertRefused(() -> rotary.forward(null, q, qOut), "table: null");
      assertRefused(() -> rotary.forward(table, null, qOut), "x: null");
      assertRefused(() -> rotary.forward(table, q, null), "y: null");
      assertRefused(() -> rotary.backward(table, q, null), "dx: null");
      assertRefused(() -> rotary.forward(table, q, qOut, null, kOut.view()), "k: null");
      assertRefused(() -> rotary.forward(table, q, qOut, k.view(), null), "kOut: null");
      assertRefused(() -> rotary.backward(table, q, qOut, null, k.view()), "dkOut: null");
      assertRefused(() -> rotary.forward(wide, q, qOut), "table: 16 pairs", "expected 8");
      assertRefused(() -> rotary.forward(exact, q, qOut), "table: dtype FLOAT32", "BFLOAT16");
      assertRefused(
          () -> rotary.forward(table.slice(0, 4), q, qOut),
          "table: positions of shape [4]",
          "[5] or [2, 5]",
          "slice");
      assertRefused(
          () -> rotary.forward(perBatch, q.tokens(0, 4), qOut.tokens(0, 4)),
          "table: positions of shape [2, 5]");
      assertRefused(
          () -> rotary.forward(table, q, qOut.heads(0, 2)), "y: shape [2, 5, 2, 24]", "as x has");
      assertRefused(
          () -> rotary.forward(table, q.dims(0, 16), qOut.dims(0, 16)), "x: heads of 16", "24");
      HeadsView floats = HeadsView.of(TensorView.ofAddress(4096, FLOAT32, Device.CPU, 2, 5, 3, 24));
      assertRefused(() -> rotary.forward(table, floats, qOut), "x: dtype FLOAT32", "BFLOAT16");
      assertRefused(() -> rotary.forward(table, q, floats), "y: dtype FLOAT32", "BFLOAT16");
      HeadsView afar =
          HeadsView.of(TensorView.ofAddress(4096, BFLOAT16, Device.cuda(0), 2, 5, 3, 24));
      assertRefused(() -> rotary.forward(table, afar, qOut), "x: is on cuda:0", "on cpu");
      assertRefused(() -> rotary.forward(table, q, afar), "y: is on cuda:0", "on cpu");
      assertRefused(
          () -> rotary.forward(table, q, qOut, CudaStream.ofDefault(Device.cuda(0))),
          "stream: ",
          "CPU");
      assertRefused(
          () -> rotary.forward(table, q, qOut, k.view().tokens(0, 4), kOut.view().tokens(0, 4)),
          "k: ",
          "seq 5");
      HeadsView shifted =
          HeadsView.of(TensorView.ofAddress(q.address() + 2, BFLOAT16, Device.CPU, 2, 5, 3, 24));
      assertRefused(() -> rotary.forward(table, q, shifted), "y: ", "overlaps x");
      assertRefused(() -> rotary.forward(table, q, q.heads(0, 3), q.heads(1, 2), kOut.view()), "q");
      assertRefused(
          () -> rotary.forward(table, q, qOut, k.view(), qOut.heads(2, 3)), "qOut", "kOut");
      assertRefused(() -> rotary.forward(table, q, qOut, k.view(), q.heads(1, 2)), "kOut", "q, ");
      HeadsView folded = HeadsView.of(y.memory(), 0, q.shape(), new long[] {0, 72, 24});
      assertRefused(() -> rotary.forward(table, q, folded), "y: ", "overlaps itself");
      HeadsView onTable =
          HeadsView.of(
              TensorView.ofAddress(table.sin().address() - 64, BFLOAT16, Device.CPU, 2, 5, 3, 24));
      assertRefused(() -> rotary.forward(table, q, onTable), "y: ", "overlaps the table");
      assertRefused(
          () -> rotary.forward(table, q, qOut, k.view(), onTable.heads(0, 1)), "kOut: ", "table");
      arena.assertUnchanged(before, "a refused call");

      // Inputs may have a stride of 0: one head for every batch, token and head.
      HeadsView repeated = HeadsView.of(x.memory(), 7, q.shape(), new long[] {0, 0, 0});
      rotary.forward(table, repeated, qOut);
      arena.assertGuards();
    }
  }

  @Test
  void closedObjectsAreRefused() {
    try (Arena arena = new Arena()) {
      Heads x = Heads.random(arena, FLOAT32, true, 0, 0, 1, 1, 5, 3, 16);
      RotaryTable table = table(16, FLOAT32, 0, 5);
      Rotary rotary =
          builder(16, FLOAT32, FLOAT32, RotaryLayout.HALF_SPLIT, RotaryRounding.COMPUTE).build();
      HeadsView closed;
      try (NativeBuffer buffer = NativeBuffer.allocate(FLOAT32, 1, 5, 3, 16)) {
        closed = HeadsView.of(buffer.view(FLOAT32, 1, 5, 3, 16));
      }
      List<byte[]> before = arena.snapshot();
      assertRefused(() -> rotary.forward(table, closed, x.view()), "x: ", "NativeBuffer", "closed");
      assertRefused(() -> rotary.forward(table, x.view(), closed), "y: ", "closed");
      assertRefused(
          () -> rotary.forward(table, x.view(), x.view(), closed, closed), "k: ", "closed");
      RotaryTable slice = table.slice(0, 5);
      assertTrue(slice.isOpen());
      table.close();
      table.close();
      assertFalse(table.isOpen());
      assertFalse(slice.isOpen());
      assertTrue(table.toString().endsWith("closed)"), table.toString());
      assertRefused(() -> rotary.forward(table, x.view(), x.view()), "table: ", "closed");
      assertRefused(() -> rotary.forward(slice, x.view(), x.view()), "table: ", "closed");
      assertThrows(IllegalStateException.class, table::cos);
      assertThrows(IllegalStateException.class, slice::sin);
      assertThrows(IllegalStateException.class, () -> table.slice(0, 1));
      rotary.close();
      rotary.close();
      assertThrows(IllegalStateException.class, () -> rotary.forward(table, x.view(), x.view()));
      assertTrue(rotary.toString().endsWith("closed)"), rotary.toString());
      arena.assertUnchanged(before, "a refused call");
    }
  }

  /** During a call the objects that it uses cannot be closed. */
  @Test
  void closingWhileInUseIsRefused() throws InterruptedException {
    CountDownLatch asked = new CountDownLatch(1);
    CountDownLatch go = new CountDownLatch(1);
    Executor blocking =
        task -> {
          asked.countDown();
          try {
            go.await();
          } catch (InterruptedException e) {
            throw new IllegalStateException(e);
          }
        };
    try (Arena arena = new Arena();
        RotaryTable table = table(64, FLOAT32, 0, 520);
        Rotary rotary =
            builder(64, FLOAT32, FLOAT32, RotaryLayout.HALF_SPLIT, RotaryRounding.COMPUTE)
                .threads(2)
                .executor(blocking)
                .build()) {
      Heads x = Heads.random(arena, FLOAT32, true, 0, 0, 1, 1, 520, 8, 64);
      Thread caller = new Thread(() -> rotary.forward(table, x.view(), x.view()));
      caller.start();
      asked.await();
      assertThrows(IllegalStateException.class, rotary::close);
      assertThrows(IllegalStateException.class, table::close);
      go.countDown();
      caller.join();
    }
  }

  /** Several threads share one op and one table. */
  @Test
  void threadsShareAnOp() throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(4);
    try (Arena arena = new Arena();
        RotaryTable table = table(64, BFLOAT16, 0, 130);
        Rotary rotary =
            builder(64, BFLOAT16, BFLOAT16, RotaryLayout.INTERLEAVED, RotaryRounding.INPUT)
                .threads(3)
                .build()) {
      Heads x = Heads.random(arena, BFLOAT16, true, 0, 0, 1, 2, 130, 32, 64);
      Heads expected = Heads.random(arena, BFLOAT16, true, 0, 0, 2, 2, 130, 32, 64);
      rotary.forward(table, x.view(), expected.view());
      byte[] bits = contents(expected.view());
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int i = 0; i < 8; i++) {
        Heads y = Heads.random(arena, BFLOAT16, true, 0, 0, i, 2, 130, 32, 64);
        tasks.add(
            () -> {
              for (int round = 0; round < 30; round++) {
                y.memory().copyFrom(x.memory());
                rotary.forward(table, y.view(), y.view());
                assertArrayEquals(bits, contents(y.view()));
              }
              return null;
            });
      }
      for (Future<Void> done : threads.invokeAll(tasks)) {
        done.get();
      }
      arena.assertGuards();
    } finally {
      threads.shutdown();
    }
  }

  @Test
  void buildersRefuseInvalidSettings() {
    assertRefused(() -> Rotary.builder(1), "headDim: 1", "65536");
    assertRefused(() -> Rotary.builder(65537), "headDim: 65537");
    assertRefused(() -> Rotary.builder(8).rotaryDim(10), "rotaryDim: 10", "headDim, 8");
    assertRefused(() -> Rotary.builder(8).rotaryDim(3), "rotaryDim: 3", "even");
    assertRefused(() -> Rotary.builder(8).rotaryDim(0), "rotaryDim: 0");
    assertRefused(() -> Rotary.builder(8).dtype(FLOAT64), "dtype: FLOAT64", "FLOAT32");
    assertRefused(() -> Rotary.builder(8).tableDType(FLOAT64), "tableDType: FLOAT64");
    assertRefused(() -> Rotary.builder(8).threads(0), "threads: 0");
    assertRefused(() -> Rotary.builder(7).build(), "rotaryDim: 7", "even");
    Rotary.Builder builder = Rotary.builder(8);
    for (String missing : new String[] {"dtype", "tableDType", "layout", "rounding"}) {
      String message = assertThrows(IllegalStateException.class, builder::build).getMessage();
      assertTrue(message.startsWith(missing + ": not set"), message);
      switch (missing) {
        case "dtype" -> builder.dtype(BFLOAT16);
        case "tableDType" -> builder.tableDType(FLOAT16);
        case "layout" -> builder.layout(RotaryLayout.INTERLEAVED);
        default -> builder.rounding(RotaryRounding.INPUT);
      }
    }
    try (Rotary rotary = builder.rotaryDim(4).build()) {
      assertEquals(8, rotary.headDim());
      assertEquals(4, rotary.rotaryDim());
      assertEquals(BFLOAT16, rotary.dtype());
      assertEquals(FLOAT16, rotary.tableDType());
      assertEquals(RotaryLayout.INTERLEAVED, rotary.layout());
      assertEquals(RotaryRounding.INPUT, rotary.rounding());
      assertEquals(Device.CPU, rotary.device());
    }
    RotarySpec spec = RotarySpec.builder(80).rotaryDim(32).build();
    try (Rotary rotary =
        Rotary.builder(spec)
            .dtype(FLOAT32)
            .tableDType(FLOAT32)
            .layout(RotaryLayout.HALF_SPLIT)
            .rounding(RotaryRounding.COMPUTE)
            .build()) {
      assertEquals(80, rotary.headDim());
      assertEquals(32, rotary.rotaryDim());
    }
  }

  /** One range and several ranges allocate nothing on the heap after the warm-up. */
  @Test
  void callsAllocateNothing() {
    Set<Thread> threads = ConcurrentHashMap.newKeySet();
    threads.add(Thread.currentThread());
    ForkJoinPool pool =
        new ForkJoinPool(
            2,
            p -> {
              var worker = ForkJoinPool.defaultForkJoinWorkerThreadFactory.newThread(p);
              threads.add(worker);
              return worker;
            },
            null,
            false);
    try (Arena arena = new Arena();
        RotaryTable table = table(64, BFLOAT16, 0, 200);
        RotaryTable short1 = table(64, BFLOAT16, 0, 1);
        Rotary rotary =
            builder(64, BFLOAT16, BFLOAT16, RotaryLayout.HALF_SPLIT, RotaryRounding.INPUT)
                .threads(3)
                .executor(pool)
                .build()) {
      HeadsView qkv = Heads.random(arena, BFLOAT16, true, 0, 0, 1, 2, 200, 48, 64).view();
      HeadsView q = qkv.heads(0, 32);
      HeadsView k = qkv.heads(32, 40);
      HeadsView q1 = q.tokens(5, 6);
      HeadsView k1 = k.tokens(5, 6);
      List<Runnable> calls =
          List.of(
              () -> rotary.forward(table, q, q, k, k),
              () -> rotary.backward(table, q, q, k, k),
              () -> rotary.forward(short1, q1, q1, k1, k1),
              () -> rotary.backward(short1, q1, q1));
      for (Runnable call : calls) {
        for (int i = 0; i < 2_000; i++) {
          call.run();
        }
      }
      for (int i = 0; i < calls.size(); i++) {
        assertEquals(
            0,
            NormAllocationTest.leastAllocatedBy(threads, 1_000, calls.get(i)),
            "bytes allocated by calls number " + i);
      }
      assertEquals(3, threads.size(), "the pool has worked with its two threads");
    } finally {
      pool.shutdown();
    }
  }
}
