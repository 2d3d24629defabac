package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT64;
import static org.normcore.DType.FLOAT8_E4M3;
import static org.normcore.DType.FLOAT8_E5M2;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.internal.Capi;
import org.normcore.testing.Arena;
import org.normcore.testing.NativeMemory;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;
import org.normcore.testing.Values;

/**
 * An FP8 parameter as the weight of a norm is equivalent to its dequantised values as the weight.
 */
class Fp8WeightTest {
  private static final int N = 100;

  @BeforeAll
  static void settle() throws InterruptedException {
    NativeMemory.settle();
  }

  private static Norm norm(NormKind kind, DType weight) {
    return NormTensors.builder(
            kind, N, BFLOAT16, weight, Affine.WEIGHT, NormPolicy.HUGGING_FACE_LLAMA)
        .build();
  }

  private static Operands operands(NormTensors t) {
    Operands operands = Operands.of(t.x, t.y);
    return t.residual == null ? operands : operands.residual(t.residual, t.residualOut);
  }

  private static Fp8Parameter parameter(Arena arena, Fp8Spec spec) {
    return Fp8Parameter.quantize(arena.tensor(FLOAT32, Values.normal(4, N, 1, 0.1), N), spec);
  }

  private static void assertRefused(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @ParameterizedTest
  @EnumSource
  void matchesDequantizedWeightInEveryForm(NormKind kind) {
    for (DType weight : List.of(FLOAT32, BFLOAT16, FLOAT16)) {
      for (Fp8Spec spec :
          List.of(
              Fp8Spec.builder(FLOAT8_E4M3).build(), Fp8Spec.builder(FLOAT8_E5M2).mxfp8().build())) {
        for (boolean residualForm : new boolean[] {false, true}) {
          try (Norm norm = norm(kind, weight);
              Arena arena = new Arena();
              Fp8Parameter parameter = parameter(arena, spec);
              NormTensors t = new NormTensors(norm, 6, residualForm, Layout.DENSE, 1)) {
            TensorView plain = arena.tensor(weight, N);
            parameter.dequantize(plain);
            for (int round = 0; round < 2; round++) {
              List<byte[]> expected = results(norm, t, operands(t).weight(plain));
              assertEquals(
                  expected.size(), results(norm, t, operands(t).fp8Weight(parameter)).size());
              List<byte[]> actual = results(norm, t, operands(t).fp8Weight(parameter));
              for (int i = 0; i < expected.size(); i++) {
                assertArrayEquals(expected.get(i), actual.get(i), norm + ", result " + i);
              }
              // After an update the next forward uses the new values.
              parameter.update(arena.tensor(FLOAT32, Values.normal(8, N), N));
              parameter.dequantize(plain);
            }
          }
        }
      }
    }
  }

  /** y of each form of the forward, the statistics, and the gradients. */
  private static List<byte[]> results(Norm norm, NormTensors t, Operands operands) {
    try (Saved saved = norm.forward(operands);
        Saved reuse = norm.newSaved(10)) {
      byte[] first = t.y.toBytes();
      t.clear();
      norm.backward(saved, t.dy, t.gradients());
      byte[] dx = t.dx.toBytes();
      byte[] dweight = t.dweight.toBytes();
      norm.forward(operands, reuse);
      byte[] second = t.y.toBytes();
      t.clear();
      TensorView mean = saved.mean();
      norm.forward(operands, mean, saved.rstd());
      byte[] third = t.y.toBytes();
      t.clear();
      norm.infer(operands);
      byte[] rstd = saved.rstd().toBytes();
      return List.of(first, second, third, t.y.toBytes(), dx, dweight, rstd);
    }
  }

  @ParameterizedTest
  @EnumSource
  void firstSuccessfulForwardClearsInitialValue(InitialValue mode) {
    for (int form = 0; form < 4; form++) {
      try (Norm norm = norm(NormKind.LAYER_NORM, FLOAT32);
          Arena arena = new Arena();
          Saved saved = norm.newSaved(6);
          NormTensors t = new NormTensors(norm, 6, false, Layout.DENSE, 1);
          Fp8Parameter parameter =
              parameter(arena, Fp8Spec.builder(FLOAT8_E4M3).initialValue(mode).build())) {
        Operands operands = operands(t).fp8Weight(parameter);
        assertSame(parameter, operands.fp8Weight());
        assertNull(operands.weight());
        TensorView other = arena.tensor(FLOAT32, N);
        assertNull(operands.weight(other).fp8Weight());
        assertNull(operands.weight(null).fp8Weight());
        assertNull(operands.weight(other).fp8Weight(parameter).weight());
        assertNull(operands.fp8Weight(null).fp8Weight());
        // Refused because of y: no forward runs.
        Operands wrong = Operands.of(t.x, arena.tensor(FLOAT32, 1, N)).fp8Weight(parameter);
        assertThrows(IllegalArgumentException.class, () -> norm.infer(wrong));
        assertThrows(IllegalArgumentException.class, () -> norm.forward(wrong));
        assertThrows(IllegalArgumentException.class, () -> norm.forward(wrong, saved));
        assertEquals(mode != InitialValue.DISCARD, parameter.hasInitialValue());
        long before = Capi.allocatedBytes();
        switch (form) {
          case 0 -> norm.forward(operands).close();
          case 1 -> norm.forward(operands, saved);
          case 2 -> {
            norm.forward(operands(t).weight(other), saved);
            norm.forward(operands, saved.mean(), saved.rstd());
          }
          default -> norm.infer(operands);
        }
        assertEquals(mode == InitialValue.KEEP_UNTIL_CLEARED, parameter.hasInitialValue());
        long cleared = mode == InitialValue.KEEP_UNTIL_FIRST_FORWARD ? 4 * N : 0;
        assertEquals(before - cleared, Capi.allocatedBytes(), mode + ", form " + form);
      }
    }
  }

  /** Allocates neither native memory nor objects after the dequantised copy is made. */
  @Test
  void callsAllocateNothing() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long self = Thread.currentThread().getId();
    try (Norm norm = norm(NormKind.RMS_NORM, BFLOAT16);
        Arena arena = new Arena();
        Saved saved = norm.newSaved(6);
        NormTensors t = new NormTensors(norm, 6, false, Layout.DENSE, 1);
        Fp8Parameter parameter = parameter(arena, Fp8Spec.builder(FLOAT8_E4M3).build())) {
      Operands operands = operands(t).fp8Weight(parameter);
      for (int i = 0; i < 20_000; i++) {
        norm.infer(operands);
        norm.forward(operands, saved);
      }
      long least = Long.MAX_VALUE;
      long native1 = Capi.allocatedBytes();
      for (int round = 0; round < 5 && least != 0; round++) {
        threads.getThreadAllocatedBytes(self);
        long first = threads.getThreadAllocatedBytes(self);
        long begin = threads.getThreadAllocatedBytes(self);
        for (int i = 0; i < 1000; i++) {
          norm.infer(operands);
          norm.forward(operands, saved);
        }
        long end = threads.getThreadAllocatedBytes(self);
        least = Math.min(least, end - begin - (begin - first));
      }
      assertEquals(0, least);
      assertEquals(native1, Capi.allocatedBytes());
    }
  }

  @Test
  void mismatchedParametersAreRefused() {
    try (Norm norm = norm(NormKind.RMS_NORM, FLOAT32);
        Norm wide = norm(NormKind.RMS_NORM, FLOAT64);
        Norm none =
            NormTensors.builder(
                    NormKind.RMS_NORM, N, BFLOAT16, FLOAT32, Affine.NONE, NormPolicy.PYTORCH)
                .build();
        Arena arena = new Arena();
        NormTensors t = new NormTensors(norm, 6, false, Layout.DENSE, 1);
        NormTensors s = new NormTensors(none, 6, false, Layout.DENSE, 1)) {
      Fp8Spec spec =
          Fp8Spec.builder(FLOAT8_E4M3).initialValue(InitialValue.KEEP_UNTIL_FIRST_FORWARD).build();
      Fp8Parameter parameter = parameter(arena, spec);
      List<byte[]> before = t.results();
      assertRefused(
          () -> wide.infer(operands(t).fp8Weight(parameter)),
          "weight",
          "FLOAT64",
          "expected FLOAT32");
      assertRefused(
          () -> none.infer(operands(s).fp8Weight(parameter)),
          "weight: given as Fp8Parameter",
          "NONE");
      try (Fp8Parameter square =
          Fp8Parameter.quantize(arena.tensor(FLOAT32, Values.normal(1, N), 10, 10), spec)) {
        long allocated = Capi.allocatedBytes();
        assertRefused(
            () -> norm.infer(operands(t).fp8Weight(square)), "weight: ", "[100]", "[10, 10]");
        assertEquals(allocated, Capi.allocatedBytes(), "no copy is made of what does not fit");
      }
      assertRefused(
          () ->
              norm.infer(
                  operands(t).fp8Weight(parameter).stream(CudaStream.ofDefault(Device.cuda(0)))),
          "stream: given",
          "CPU");
      assertTrue(parameter.hasInitialValue());
      parameter.close();
      assertRefused(
          () -> norm.infer(operands(t).fp8Weight(parameter)), "weight: is closed", "Fp8Parameter");
      t.assertResults(before, "refused calls");
    }
  }

  /** A closed norm or a refused call does not leave the parameter in use. */
  @Test
  void refusedCallsReleaseTheParameter() {
    try (Arena arena = new Arena();
        Norm model = norm(NormKind.RMS_NORM, FLOAT32);
        NormTensors t = new NormTensors(model, 6, false, Layout.DENSE, 1)) {
      Fp8Parameter parameter = parameter(arena, Fp8Spec.builder(FLOAT8_E4M3).build());
      Norm norm = norm(NormKind.RMS_NORM, FLOAT32);
      Operands operands = operands(t).fp8Weight(parameter);
      norm.close();
      assertThrows(IllegalStateException.class, () -> norm.infer(operands));
      assertThrows(IllegalStateException.class, () -> norm.forward(operands));
      assertFalse(parameter.toString().contains("closed"));
      Operands wrong = Operands.of(t.x, arena.tensor(FLOAT32, 1, N)).fp8Weight(parameter);
      assertThrows(IllegalArgumentException.class, () -> model.infer(wrong));
      parameter.update(arena.tensor(FLOAT32, Values.normal(4, N), N));
      parameter.close();
    }
  }

  /** The backward reads the weight's values, so a parameter closed before it is refused. */
  @Test
  void backwardRefusesClosedParameter() {
    try (Arena arena = new Arena();
        Norm norm = norm(NormKind.RMS_NORM, FLOAT32);
        NormTensors t = new NormTensors(norm, 6, false, Layout.DENSE, 1)) {
      Fp8Parameter parameter = parameter(arena, Fp8Spec.builder(FLOAT8_E4M3).build());
      try (Saved saved = norm.forward(operands(t).fp8Weight(parameter))) {
        norm.backward(saved, t.dy, t.gradients());
        parameter.close();
        assertRefused(() -> norm.backward(saved, t.dy, t.gradients()), "weight: ", "closed");
      }
    }
  }
}
