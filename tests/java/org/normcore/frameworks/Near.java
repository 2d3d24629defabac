package org.normcore.frameworks;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.ref.WeakReference;
import java.util.function.Supplier;
import org.junit.jupiter.api.function.Executable;
import org.normcore.ComputeType;
import org.normcore.DType;
import org.normcore.GammaOffset;
import org.normcore.GradientMode;
import org.normcore.Gradients;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.RmsNorm;
import org.normcore.Saved;
import org.normcore.TensorView;
import org.normcore.testing.Reference;

/** Checks that the tests of all frameworks share. */
final class Near {
  private Near() {}

  /** Equal up to a few roundings of the type, relative to the value or to 1. */
  static void assertNear(double[] expected, double[] actual, double tolerance) {
    assertEquals(expected.length, actual.length);
    for (int i = 0; i < expected.length; i++) {
      double off = Math.abs(actual[i] - expected[i]) / Math.max(1, Math.abs(expected[i]));
      assertTrue(off <= tolerance, "[" + i + "]: " + actual[i] + "; expected " + expected[i]);
    }
  }

  /** The distance from 1 to the next value of a type. */
  static double step(DType dtype) {
    return switch (dtype) {
      case FLOAT64 -> Math.scalb(1, -52);
      case FLOAT32 -> Math.scalb(1, -23);
      case FLOAT16 -> Math.scalb(1, -10);
      case BFLOAT16 -> Math.scalb(1, -7);
      default -> throw new IllegalArgumentException(dtype.toString());
    };
  }

  /** One rounding, computed in float64. */
  static NormPolicy policy(DType dtype) {
    return dtype == DType.FLOAT64
        ? NormPolicy.PYTORCH.toBuilder().compute(ComputeType.FLOAT64).build()
        : NormPolicy.PYTORCH;
  }

  /** An RMSNorm, forward and backward, on a framework's tensors, against the reference. */
  static void assertRmsNorm(
      double epsilon,
      TensorView x,
      TensorView weight,
      TensorView dy,
      TensorView y,
      TensorView dx,
      TensorView dweight) {
    DType dtype = x.dtype();
    int n = (int) weight.elements();
    RmsNorm.Builder builder =
        RmsNorm.builder(n).epsilon(epsilon).input(dtype).policy(policy(dtype));
    try (RmsNorm norm = builder.build();
        Saved saved = norm.forward(x, weight, y)) {
      norm.backward(saved, dy, Gradients.of(dx).weight(dweight, GradientMode.WRITE));
    }
    double[] gamma = weight.toDoubles();
    Reference.Forward forward =
        Reference.forward(
            NormKind.RMS_NORM, n, epsilon, GammaOffset.NONE, x.toDoubles(), gamma, null);
    Reference.Backward backward =
        Reference.backward(NormKind.RMS_NORM, n, GammaOffset.NONE, forward, gamma, dy.toDoubles());
    double tolerance = (dtype.bytes() == 2 ? 1 : 32) * step(dtype);
    assertNear(forward.y(), y.toDoubles(), tolerance);
    assertNear(backward.dx(), dx.toDoubles(), tolerance);
    assertNear(backward.dweight(), dweight.toDoubles(), tolerance);
  }

  /**
   * A view of a tensor [3, 4, 5] reads the framework's values, and the framework reads the view's
   * writes.
   */
  static void assertIsMemory(DType dtype, TensorView view, Supplier<double[]> values) {
    assertEquals(dtype, view.dtype());
    assertArrayEquals(new long[] {3, 4, 5}, view.shape());
    assertArrayEquals(values.get(), view.toDoubles());
    double[] written = new double[60];
    written[59] = 1.5;
    view.copyFrom(written);
    assertArrayEquals(written, values.get());
  }

  /** A tensor that only its view references is not collected. */
  static void assertKeptReachable(Supplier<?> tensor, ViewOf viewOf) throws InterruptedException {
    Object made = tensor.get();
    WeakReference<Object> weak = new WeakReference<>(made);
    TensorView view = viewOf.view(made);
    made = null;
    WeakReference<Object> garbage = new WeakReference<>(new Object());
    while (garbage.get() != null) {
      System.gc();
      Thread.sleep(1);
    }
    assertNotNull(weak.get());
    java.lang.ref.Reference.reachabilityFence(view);
  }

  /** An adapter's method. */
  interface ViewOf {
    TensorView view(Object tensor);
  }

  static void assertRefused(String words, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.contains(words), message);
    assertTrue(message.contains("expected") || message.contains("deallocated"), message);
  }
}
