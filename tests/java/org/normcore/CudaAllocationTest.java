package org.normcore;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.normcore.DType.BFLOAT16;
import static org.normcore.DType.FLOAT32;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.normcore.testing.Mirror;
import org.normcore.testing.NeedsCuda;
import org.normcore.testing.NormTensors;
import org.normcore.testing.NormTensors.Layout;

/** Calls of norms on a CUDA device allocate nothing on the Java heap. */
@NeedsCuda
class CudaAllocationTest {
  private static final Device GPU = Device.cuda(0);
  private static final int ROWS = 2;
  private static final int CALLS = 200;

  private static long allocated() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    return threads.getThreadAllocatedBytes(Thread.currentThread().getId());
  }

  /** The minimum of a few rounds: an allocation per call is counted in every round. */
  private static long allocatedBy(Runnable call) {
    long least = Long.MAX_VALUE;
    for (int round = 0; round < 5 && least != 0; round++) {
      long first = allocated();
      long begin = allocated();
      for (int i = 0; i < CALLS; i++) {
        call.run();
      }
      least = Math.min(least, allocated() - begin - (begin - first));
    }
    return least;
  }

  @ParameterizedTest
  @EnumSource
  void hotCallsAllocateNothing(NormKind kind) {
    try (Norm gpu =
            NormTensors.builder(kind, 8, BFLOAT16, FLOAT32, Affine.WEIGHT_AND_BIAS, NormPolicy.T5)
                .device(GPU)
                .build();
        NormTensors t = new NormTensors(gpu, ROWS, true, Layout.DENSE, 1);
        Mirror mirror = t.mirror(GPU);
        CudaStream stream = CudaStream.create(GPU);
        CudaBuffer workspace =
            CudaBuffer.allocate(GPU, gpu.backwardWorkspaceBytes(ROWS, t.gradients()));
        Saved saved = gpu.newSaved(ROWS)) {
      mirror.upload(stream);
      Operands operands = t.operands(mirror).stream(stream);
      Operands unnamed = t.operands(mirror);
      Gradients gradients = t.gradients(mirror).stream(stream);
      TensorView dy = mirror.apply(t.dy);
      gpu.forward(operands, saved);
      TensorView mean = saved.mean();
      TensorView rstd = saved.rstd();
      TensorView x = operands.residualOut();
      TensorView weight = operands.weight();
      List<Runnable> hotCalls =
          List.of(
              () -> gpu.infer(operands),
              () -> gpu.infer(unnamed),
              () -> gpu.forward(operands, saved),
              () -> gpu.forward(operands, mean, rstd),
              () -> gpu.backward(saved, dy, gradients),
              () -> gpu.backward(x, weight, mean, rstd, dy, gradients, workspace));
      for (Runnable call : hotCalls) {
        for (int i = 0; i < CALLS; i++) {
          call.run(); // Warm-up: makes all one-time allocations.
        }
      }
      for (int i = 0; i < hotCalls.size(); i++) {
        assertEquals(0, allocatedBy(hotCalls.get(i)), "bytes allocated by calls number " + i);
      }
      assertTrue(allocatedBy(() -> gpu.newSaved(ROWS).close()) > 0, "the count counts");
      stream.synchronize();
    }
  }
}
