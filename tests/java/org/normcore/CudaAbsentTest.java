package org.normcore;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.normcore.DType.FLOAT32;

import java.util.List;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.normcore.testing.Arena;

/** Without CUDA everything else works, and CUDA calls throw with the reason. */
class CudaAbsentTest {
  private static final Device GPU = Device.cuda(0);

  private static void assertUnavailable(String reason, Runnable call) {
    assertEquals(reason, assertThrows(UnsupportedOperationException.class, call::run).getMessage());
  }

  private static void assertRefused(String text, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.contains(text), message);
  }

  @Test
  void cudaCallsThrowWithTheReason() {
    assumeFalse(Cuda.isAvailable(), "CUDA is available");
    String reason = Cuda.unavailabilityCause().getMessage();
    assertTrue(reason.startsWith("CUDA: "), reason);
    assertEquals(0, Cuda.deviceCount());
    assertEquals(List.of(), Cuda.devices());
    assertUnavailable(reason, Cuda::ensureAvailable);
    assertUnavailable(reason, () -> Cuda.device(GPU));
    assertUnavailable(reason, () -> CudaBuffer.allocate(GPU, 16));
    assertUnavailable(reason, () -> CudaBuffer.allocate(GPU, FLOAT32, 16));
    assertUnavailable(reason, () -> CudaStream.create(GPU));
    assertUnavailable(reason, CudaStream.ofDefault(GPU)::synchronize);
    assertUnavailable(
        reason,
        () -> RmsNorm.builder(8).input(FLOAT32).policy(NormPolicy.PYTORCH).device(GPU).build());
    try (Arena arena = new Arena()) {
      TensorView host = arena.tensor(FLOAT32, 8);
      List<byte[]> before = arena.snapshot();
      TensorView remote = TensorView.ofAddress(4096, FLOAT32, GPU, 8);
      CudaStream stream = CudaStream.ofDefault(GPU);
      assertUnavailable(reason, () -> host.copyFrom(remote, stream));
      assertUnavailable(reason, () -> remote.copyFrom(host, stream));
      arena.assertUnchanged(before, "a copy without CUDA");
    }
  }

  @Test
  void fp8ParametersStayOnTheCpu() {
    assumeFalse(Cuda.isAvailable(), "CUDA is available");
    String reason = Cuda.unavailabilityCause().getMessage();
    Fp8Spec spec =
        Fp8Spec.builder(DType.FLOAT8_E4M3).initialValue(InitialValue.KEEP_UNTIL_CLEARED).build();
    try (Arena arena = new Arena()) {
      TensorView host = arena.tensor(FLOAT32, 8).copyFrom(new float[] {1, 2, 3, 4, 5, 6, 7, 8});
      TensorView remote = TensorView.ofAddress(4096, FLOAT32, GPU, 8);
      TensorView number = TensorView.ofAddress(4096, FLOAT32, GPU, 1);
      assertUnavailable(reason, () -> Fp8Parameter.quantize(host, spec, null, GPU, null));
      assertUnavailable(reason, () -> Fp8Parameter.quantize(remote, spec));
      assertUnavailable(
          reason,
          () -> Fp8Parameter.amax(TensorView.ofAddress(8192, FLOAT32, GPU, 8), number, null));
      try (Fp8Parameter parameter = Fp8Parameter.quantize(host, spec)) {
        byte[] codes = parameter.data().toBytes();
        TensorView value = parameter.initialValue();
        assertUnavailable(reason, () -> parameter.to(GPU));
        assertEquals(Device.CPU, parameter.device());
        assertArrayEquals(codes, parameter.data().toBytes());
        assertArrayEquals(host.toBytes(), value.toBytes());
      }
    }
  }

  @Test
  void wrongArgumentsAreRefusedWithOrWithoutCuda() {
    assertRefused("device: cpu; expected a CUDA", () -> CudaBuffer.allocate(Device.CPU, 16));
    assertRefused("device: null", () -> CudaBuffer.allocate(null, 16));
    assertRefused("bytes: -1", () -> CudaBuffer.allocate(GPU, -1));
    assertRefused("shape: [-1]", () -> CudaBuffer.allocate(GPU, FLOAT32, -1));
    assertRefused("device: cpu", () -> CudaStream.create(Device.CPU));
    assertRefused("device: cpu", () -> CudaStream.ofDefault(Device.CPU));
    assertRefused("device: cpu", () -> CudaStream.ofAddress(Device.CPU, 16));
    assertRefused("device: null", () -> CudaStream.of(null, new Pointer()));
    assertRefused("stream: null", () -> CudaStream.of(GPU, null));
    assertRefused("device: cpu", () -> Cuda.device(Device.CPU));
    assertThrows(NullPointerException.class, () -> RmsNorm.builder(8).device(null), "device");
  }

  @Test
  void cpuNormsRefuseStreams() {
    try (Arena arena = new Arena();
        RmsNorm norm =
            RmsNorm.builder(8)
                .input(FLOAT32)
                .affine(Affine.NONE)
                .policy(NormPolicy.PYTORCH)
                .build()) {
      assertEquals(Device.CPU, norm.device());
      assertFalse(norm.toString().contains("device"), norm.toString());
      TensorView x = arena.tensor(FLOAT32, new double[8], 8);
      TensorView y = arena.tensor(FLOAT32, 8);
      TensorView dx = arena.tensor(FLOAT32, 8);
      CudaStream stream = CudaStream.ofAddress(GPU, 48);
      Operands operands = Operands.of(x, y);
      Operands streamed = operands.stream(stream);
      assertEquals(stream, streamed.stream());
      assertTrue(streamed.toString().contains("CudaStream(0x30 on cuda:0)"), streamed.toString());
      try (Saved saved = norm.forward(streamed.stream(null))) {
        Gradients gradients = Gradients.of(dx).stream(stream);
        assertEquals(stream, gradients.stream());
        assertTrue(gradients.toString().contains("0x30 on cuda:0"), gradients.toString());
        List<byte[]> before = arena.snapshot();
        assertRefused(
            "stream: given as CudaStream(0x30 on cuda:0), but the norm is on the CPU",
            () -> norm.infer(streamed));
        assertRefused("stream: given as ", () -> norm.forward(streamed));
        assertRefused("stream: given as ", () -> norm.forward(streamed, null, saved.rstd()));
        assertRefused("stream: given as ", () -> norm.backward(saved, y, gradients));
        assertRefused(
            "stream: given as ",
            () -> norm.backward(x, null, null, saved.rstd(), y, gradients, null));
        arena.assertUnchanged(before, "a call with a stream");
        norm.backward(saved, y, gradients.stream(null));
      }
    }
  }

  @Test
  void pointersToDeviceMemoryAreViewed() {
    try (FloatPointer pointer = new FloatPointer(8)) {
      TensorView view = TensorView.of(pointer.position(2), FLOAT32, GPU, 3, 2);
      assertEquals(GPU, view.device());
      assertEquals(pointer.address() + 8, view.address());
      assertEquals("FLOAT32[3, 2] on cuda:0", view.toString());
      assertRefused("buffer: 24 bytes", () -> TensorView.of(pointer, FLOAT32, GPU, 7));
      assertEquals(Device.CPU, TensorView.of(pointer, FLOAT32, 2).device());
    }
  }
}
