package org.normcore;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/**
 * The rounds of {@link LeakTest}, run in a separate JVM with a heap of fixed size. Prints the
 * growth of the process in bytes for each kind of round.
 */
public final class LeakRounds {
  private static final int ROWS = 2;

  private LeakRounds() {}

  public static void main(String[] arguments) throws IOException {
    int rounds = Integer.parseInt(arguments[0]);
    for (NormKind kind : NormKind.values()) {
      try (Norm norm = norm(kind);
          NormTensors t = new NormTensors(norm, ROWS, true, Layout.DENSE, 1);
          Saved saved = norm.newSaved(ROWS)) {
        Operands operands = t.operands();
        Gradients gradients = t.gradients();
        measure(
            kind + " forward and backward",
            rounds,
            () -> {
              norm.forward(operands, saved);
              norm.backward(saved, t.dy, gradients);
            });
        measure(
            kind + " with a new Saved",
            rounds / 4,
            () -> {
              try (Saved own = norm.forward(operands)) {
                norm.backward(own, t.dy, gradients);
              }
            });
        measure(
            kind + " refused",
            rounds / 8,
            () -> {
              try {
                norm.infer(Operands.of(t.x, t.y.rows(0, 1)));
                throw new AssertionError("was not refused");
              } catch (IllegalArgumentException expected) {
                // Expected: this round measures the memory after a refused call.
              }
            });
      }
      measure(kind + " built and closed", rounds / 8, () -> norm(kind).close());
    }
  }

  private static Norm norm(NormKind kind) {
    return NormTensors.builder(
            kind, 24, DType.BFLOAT16, DType.FLOAT32, Affine.WEIGHT_AND_BIAS, NormPolicy.PYTORCH)
        .build();
  }

  private static void measure(String what, int rounds, Runnable round) throws IOException {
    // Long enough for the heaps of all threads to reach their size: the cleaner's thread frees
    // plans.
    for (int i = 0; i < rounds; i++) {
      round.run();
    }
    System.gc();
    long before = residentBytes();
    for (int i = 0; i < rounds; i++) {
      round.run();
    }
    System.gc();
    System.out.println(what + "\t" + rounds + "\t" + (residentBytes() - before));
  }

  private static long residentBytes() throws IOException {
    String[] pages = Files.readString(Path.of("/proc/self/statm")).trim().split(" ");
    return Long.parseLong(pages[1]) * 4096;
  }
}
