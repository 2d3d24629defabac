/**
 * RMSNorm and LayerNorm, forward and backward, on memory that the caller owns, with the rounding
 * written down and chosen by the caller.
 *
 * <pre>{@code
 * DType bf16 = DType.BFLOAT16;
 * try (RmsNorm norm = RmsNorm.builder(4096)
 *         .epsilon(1e-5).input(bf16).policy(NormPolicy.HUGGING_FACE_LLAMA).build();
 *     NativeBuffer xs = NativeBuffer.allocate(bf16, 8, 4096);
 *     NativeBuffer ys = NativeBuffer.allocate(bf16, 8, 4096);
 *     NativeBuffer dxs = NativeBuffer.allocate(bf16, 8, 4096);
 *     NativeBuffer ws = NativeBuffer.allocate(bf16, 4096);
 *     NativeBuffer dws = NativeBuffer.allocate(DType.FLOAT32, 4096).zero()) {
 *   TensorView x = xs.view(bf16, 8, 4096).copyFrom(new float[8 * 4096]);
 *   TensorView weight = ws.view(bf16, 4096).copyFrom(new float[4096]);
 *   TensorView y = ys.view(bf16, 8, 4096);
 *   TensorView dx = dxs.view(bf16, 8, 4096);
 *   TensorView dweight = dws.view(DType.FLOAT32, 4096);
 *
 *   try (Saved saved = norm.forward(x, weight, y)) {
 *     TensorView dy = y;
 *     norm.backward(saved, dy, Gradients.of(dx).weight(dweight, GradientMode.ACCUMULATE));
 *   }
 *   norm.infer(x, weight, y);
 * }
 * }</pre>
 *
 * <p>Tensors come as {@link org.normcore.TensorView}: JavaCPP pointers, direct buffers, plain
 * addresses, other libraries' tensors by {@link org.normcore.DLPack}, or {@link
 * org.normcore.NativeBuffer} and {@link org.normcore.CudaBuffer} for those who have no memory of
 * their own. Where a norm rounds is a {@link org.normcore.NormPolicy}; {@link
 * org.normcore.ModelType} knows which one fits a Hugging Face model.
 *
 * <p>On a CUDA device everything is the same but where the tensors lie, and that a call returns as
 * soon as its work is in the stream; {@link org.normcore.Cuda} tells whether there is one.
 *
 * <pre>{@code
 * Device gpu = Device.cuda(0);
 * try (RmsNorm norm = RmsNorm.builder(4096).device(gpu)
 *         .epsilon(1e-5).input(bf16).policy(NormPolicy.HUGGING_FACE_LLAMA).build();
 *     CudaStream stream = CudaStream.create(gpu);
 *     CudaBuffer xs = CudaBuffer.allocate(gpu, bf16, 8, 4096);
 *     CudaBuffer ws = CudaBuffer.allocate(gpu, bf16, 4096)) {
 *   TensorView x = xs.view(bf16, 8, 4096).copyFrom(hostX, stream);
 *   TensorView weight = ws.view(bf16, 4096).copyFrom(hostWeight, stream);
 *   norm.infer(Operands.of(x, x).weight(weight).stream(stream));
 *   hostX.copyFrom(x, stream);
 *   stream.synchronize();
 * }
 * }</pre>
 *
 * <p>Two more places where training code loses precision without noticing: {@link
 * org.normcore.Rotary} turns the heads of queries and keys by a {@link org.normcore.RotaryTable},
 * whose positions are whole numbers and whose angles are float64; {@link org.normcore.Fp8Parameter}
 * is a parameter in FP8 that can keep the values it was made of. A norm's output may be FP8 too:
 * {@link org.normcore.Norm.Builder#outputScaling}.
 *
 * <p>Footprint. A norm takes a few hundred bytes, and a few kilobytes more once its calls run in
 * several threads. A {@link org.normcore.Saved} takes 4 bytes per row (LayerNorm 8; double that
 * with float64 compute), and after the first backward that wants a weight's gradient, on a CUDA
 * device from the beginning, its workspace, of the size that {@link
 * org.normcore.Norm#backwardWorkspaceBytes} tells. Calls that reuse a {@code Saved}, and inference,
 * allocate nothing. No thread is started, except one that frees what was not closed.
 *
 * <p>Nullness is marked with JSpecify, so Kotlin sees it. Everything that holds native memory is
 * {@link java.lang.AutoCloseable}: {@code use} in Kotlin, {@code Using} in Scala.
 */
@NullMarked
package org.normcore;

import org.jspecify.annotations.NullMarked;
