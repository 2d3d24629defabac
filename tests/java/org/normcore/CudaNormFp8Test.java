package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT16;
import static org.normcore.DType.FLOAT32;
import static org.normcore.DType.FLOAT8_E4M3;
import static org.normcore.DType.FLOAT8_E5M2;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.Mirror;
import org.normcore.testing.NeedsCuda;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/** FP8 outputs on a CUDA device have the bits, scales, amax and gradients of the CPU. */
@NeedsCuda
class CudaNormFp8Test {
  private static final Device GPU = Device.cuda(0);

  private static Norm.Builder<?> builder(
      NormKind kind,
      int n,
      DType input,
      NormPolicy policy,
      DType format,
      Fp8Scaling scaling,
      boolean powerOfTwo) {
    return NormTensors.builder(kind, n, input, input, Affine.WEIGHT, policy)
        .output(format)
        .outputScaling(scaling)
        .powerOfTwoScales(powerOfTwo)
        .gradient(FLOAT32);
  }

  private static void assertSameBits(Norm cpu, Norm gpu, NormTensors t, String what) {
    try (Mirror mirror = t.mirror(gpu.device());
        CudaStream stream = CudaStream.create(gpu.device())) {
      t.run(cpu);
      List<byte[]> expected = t.results();
      t.clear();
      mirror.upload(stream);
      try (Saved saved = gpu.forward(t.operands(mirror).stream(stream))) {
        gpu.backward(saved, mirror.apply(t.dy), t.gradients(mirror).stream(stream));
        mirror.download(stream);
      }
      t.assertResults(expected, what);
      t.assertGuards();
    }
  }

  @ParameterizedTest
  @EnumSource
  void scalingsAndPoliciesGiveTheCpusBits(NormKind kind) {
    NormPolicy[] policies = {
      NormPolicy.PYTORCH,
      NormPolicy.HUGGING_FACE_LLAMA,
      NormPolicy.PYTORCH.toBuilder()
          .compute(ComputeType.FLOAT64)
          .residualRounding(ResidualRounding.COMPUTE)
          .build()
    };
    int turn = 0;
    for (DType format : List.of(FLOAT8_E4M3, FLOAT8_E5M2)) {
      for (Fp8Scaling scaling : Fp8Scaling.values()) {
        for (NormPolicy policy : policies) {
          for (DType input : List.of(BFLOAT16, FLOAT16, FLOAT32)) {
            int n = new int[] {1, 31, 32, 40, 72, 300}[turn % 6];
            boolean powerOfTwo = scaling == Fp8Scaling.ROW && turn % 2 == 0;
            Layout layout = new Layout(turn % 3, turn % 5);
            turn++;
            try (Norm cpu = builder(kind, n, input, policy, format, scaling, powerOfTwo).build();
                Norm gpu =
                    builder(kind, n, input, policy, format, scaling, powerOfTwo)
                        .device(GPU)
                        .build();
                NormTensors t = new NormTensors(cpu, 4, turn % 2 == 0, layout, turn)) {
              assertSameBits(cpu, gpu, t, cpu.toString());
            }
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void longRows(Fp8Scaling scaling) {
    for (int n : new int[] {1024, 4096, 5001, 20_000, 40_000}) {
      NormPolicy policy = NormPolicy.HUGGING_FACE_LLAMA;
      try (Norm cpu =
              builder(NormKind.RMS_NORM, n, BFLOAT16, policy, FLOAT8_E4M3, scaling, false).build();
          Norm gpu =
              builder(NormKind.RMS_NORM, n, BFLOAT16, policy, FLOAT8_E4M3, scaling, false)
                  .device(GPU)
                  .build();
          NormTensors t = new NormTensors(cpu, 2, false, Layout.DENSE, n)) {
        assertSameBits(cpu, gpu, t, cpu.toString());
      }
    }
  }

  @Test
  void scalesMustBeOnTheDevice() {
    try (Norm gpu =
            builder(
                    NormKind.RMS_NORM,
                    8,
                    FLOAT32,
                    NormPolicy.PYTORCH,
                    FLOAT8_E4M3,
                    Fp8Scaling.TENSOR,
                    false)
                .device(GPU)
                .build();
        CudaBuffer memory = CudaBuffer.allocate(GPU, FLOAT32, 64);
        NativeBuffer host = NativeBuffer.allocate(FLOAT32, 1)) {
      TensorView x = memory.view(FLOAT32, 1, 8);
      TensorView weight = memory.view(64, FLOAT32, 8);
      TensorView y = memory.view(128, FLOAT8_E4M3, 1, 8);
      Operands operands = Operands.of(x, y).weight(weight);
      TensorView onHost = host.view(FLOAT32, 1);
      String message =
          assertThrows(IllegalArgumentException.class, () -> gpu.infer(operands.yScale(onHost)))
              .getMessage();
      assertEquals("yScale: is on cpu; expected it on cuda:0, as the norm is", message);
      TensorView scale = memory.view(192, FLOAT32, 1);
      message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> gpu.infer(operands.yScale(scale).yAmax(scale)))
              .getMessage();
      assertTrue(message.startsWith("yAmax: shares memory with yScale"), message);
      gpu.infer(operands.yScale(scale));
      CudaStream.ofDefault(GPU).synchronize();
    }
  }
}
