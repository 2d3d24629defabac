/**
 * RMSNorm and LayerNorm, forward and backward, on memory that the caller owns, with rounding that
 * is specified exactly and chosen by the caller.
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
 * <table>
 * <caption>Classes by subject</caption>
 * <tr><th>subject</th><th>classes</th></tr>
 * <tr><td>norms</td><td>{@link org.normcore.RmsNorm}, {@link org.normcore.LayerNorm},
 *     {@link org.normcore.Norm}, {@link org.normcore.OpBuilder}, {@link org.normcore.NormKind},
 *     {@link org.normcore.Affine},
 *     {@link org.normcore.Operands}, {@link org.normcore.Saved}, {@link org.normcore.Gradients},
 *     {@link org.normcore.GradientMode}</td></tr>
 * <tr><td>tensors and memory</td><td>{@link org.normcore.TensorView}, {@link org.normcore.DType},
 *     {@link org.normcore.Device}, {@link org.normcore.OwnedMemory},
 *     {@link org.normcore.NativeBuffer}, {@link org.normcore.CudaBuffer}</td></tr>
 * <tr><td>rounding policies</td><td>{@link org.normcore.NormPolicy},
 *     {@link org.normcore.ScaleRounding}, {@link org.normcore.GammaOffset},
 *     {@link org.normcore.VarianceAlgorithm}, {@link org.normcore.ComputeType},
 *     {@link org.normcore.ResidualRounding}, {@link org.normcore.ModelType}</td></tr>
 * <tr><td>CUDA</td><td>{@link org.normcore.Cuda}, {@link org.normcore.CudaDevice},
 *     {@link org.normcore.CudaStream}, {@link org.normcore.CudaBuffer},
 *     {@link org.normcore.CudaException}</td></tr>
 * <tr><td>rotary</td><td>{@link org.normcore.Rotary}, {@link org.normcore.RotaryTable},
 *     {@link org.normcore.RotarySpec}, {@link org.normcore.RotaryScaling},
 *     {@link org.normcore.RotaryLayout}, {@link org.normcore.RotaryRounding},
 *     {@link org.normcore.AnglePrecision}, {@link org.normcore.HeadsView}</td></tr>
 * <tr><td>FP8</td><td>{@link org.normcore.Fp8Parameter}, {@link org.normcore.Fp8Spec},
 *     {@link org.normcore.Fp8Recipe}, {@link org.normcore.Fp8Scaling},
 *     {@link org.normcore.InitialValue}, {@link org.normcore.MasterWeights}</td></tr>
 * <tr><td>frameworks</td><td>{@link org.normcore.DLPack}, {@link org.normcore.DLPackTensor};
 *     adapters in {@code org.normcore.frameworks}</td></tr>
 * <tr><td>library</td><td>{@link org.normcore.Normcore}, {@link org.normcore.VectorLevel},
 *     {@link org.normcore.NormcoreException}</td></tr>
 * </table>
 *
 * <p>A {@link org.normcore.TensorView} wraps a JavaCPP pointer, a direct buffer or a raw address;
 * {@link org.normcore.DLPack} imports tensors of other libraries; {@link org.normcore.NativeBuffer}
 * and {@link org.normcore.CudaBuffer} allocate. A {@link org.normcore.NormPolicy} defines where a
 * norm rounds; {@link org.normcore.ModelType} has the policy of each Hugging Face model family.
 *
 * <p>On a CUDA device the tensors are in device memory, and a call returns as soon as its work is
 * queued in a stream; otherwise the API is the same. {@link org.normcore.Cuda} tells whether CUDA
 * is available.
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
 * <p>The package covers two more places where training code silently loses precision. {@link
 * org.normcore.Rotary} rotates queries and keys by a {@link org.normcore.RotaryTable} with integer
 * positions and float64 angles. {@link org.normcore.Fp8Parameter} is an FP8 parameter that can keep
 * the values it was quantised from. A norm's output may be FP8 too: {@link
 * org.normcore.Norm.Builder#outputScaling}.
 *
 * <p>Footprint. A norm takes a few hundred bytes, plus a few kilobytes once its calls run in
 * several threads. A {@link org.normcore.Saved} takes 4 bytes per row (LayerNorm 8; twice that with
 * float64 compute) and a workspace of {@link org.normcore.Norm#backwardWorkspaceBytes} bytes. On
 * the CPU the first backward with a weight or bias gradient allocates the workspace; on a CUDA
 * device the {@code Saved} is created with it. Calls that reuse a {@code Saved} do not allocate,
 * nor does inference. The library starts one thread, which frees unreachable objects that were not
 * closed.
 *
 * <p>Nullness is annotated with JSpecify, which Kotlin reads. All objects with native memory are
 * {@link java.lang.AutoCloseable}: {@code use} in Kotlin, {@code Using} in Scala.
 */
@NullMarked
package org.normcore;

import org.jspecify.annotations.NullMarked;
