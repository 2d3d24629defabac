package org.normcore.internal;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.Executors;
import java.util.concurrent.ForkJoinPool;
import org.junit.jupiter.api.Test;

/**
 * Copies in host memory write every byte exactly once and nothing else, for any number of threads.
 */
class CopyTest {
  private static final int MOST = 70_000;

  private final ByteBuffer source = ByteBuffer.allocateDirect(MOST + 200);
  private final ByteBuffer target = ByteBuffer.allocateDirect(MOST + 200);
  private final byte[] drawn = new byte[MOST + 200];

  CopyTest() {
    new Random(1).nextBytes(drawn);
    source.put(0, drawn);
  }

  /** Fills the target with one value and expects the copy and no other change. */
  private void assertCopies(int to, int from, int bytes, String what, Runnable copy) {
    byte[] expected = new byte[MOST + 200];
    Arrays.fill(expected, (byte) 0x5a);
    target.put(0, expected);
    System.arraycopy(drawn, from, expected, to, bytes);
    copy.run();
    byte[] actual = new byte[MOST + 200];
    target.get(0, actual);
    assertArrayEquals(expected, actual, bytes + " bytes from " + from + " to " + to + ", " + what);
  }

  @Test
  void allBytesAndNoOthersAreCopied() {
    long from = Memory.address(source);
    long to = Memory.address(target);
    for (int bytes : new int[] {0, 1, 31, 63, 64, 65, 4095, 4096, 4097, 8192, 20_000, MOST}) {
      for (int shift : new int[] {0, 1, 33, 64, 101}) {
        int other = (shift * 7) % 128;
        assertCopies(
            shift,
            other,
            bytes,
            "streaming",
            () -> Memory.copyStreaming(to + shift, from + other, bytes));
        assertCopies(
            shift, other, bytes, "plain", () -> Memory.copy(to + shift, from + other, bytes));
      }
    }
  }

  @Test
  void pagesMakeUpTheWhole() {
    long from = Memory.address(source);
    long to = Memory.address(target);
    CallContextPool contexts = new CallContextPool(5, ForkJoinPool.commonPool());
    CallContext context = contexts.take();
    for (int bytes : new int[] {1, 4095, 4096, 4097, 20_000, MOST}) {
      for (boolean isStreaming : new boolean[] {false, true}) {
        context.copy.set(to + 3, from + 5, bytes, isStreaming);
        assertEquals((bytes + 4095) / 4096, context.copy.pages());
        // Claims many bytes, so that the copy is parallel.
        assertCopies(
            3, 5, bytes, "shared", () -> context.run(context.copy, context.copy.pages(), 1L << 40));
      }
    }
    context.release();
  }

  @Test
  void blocksThatOverlapAreRefused() {
    long at = Memory.address(source);
    String message =
        assertThrows(IllegalArgumentException.class, () -> Memory.copyStreaming(at, at + 100, 1000))
            .getMessage();
    assertTrue(message.contains("shares memory"), message);
    assertThrows(IllegalArgumentException.class, () -> Memory.copyStreaming(at, 0, 10));
  }

  /** In a separate thread, so that only its allocations are counted. */
  @Test
  void theStreamingCopyAllocatesNothing() throws Exception {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long from = Memory.address(source);
    long to = Memory.address(target);
    var executor = Executors.newSingleThreadExecutor();
    long least =
        executor
            .submit(
                () -> {
                  long fewest = Long.MAX_VALUE;
                  for (int round = 0; round < 20; round++) {
                    long before = threads.getCurrentThreadAllocatedBytes();
                    for (int i = 0; i < 1_000; i++) {
                      Memory.copyStreaming(to, from, 1000);
                    }
                    long after = threads.getCurrentThreadAllocatedBytes();
                    fewest = Math.min(fewest, after - before);
                  }
                  return fewest;
                })
            .get();
    executor.shutdown();
    assertEquals(0, least, "bytes allocated by 1000 copies");
  }
}
