package org.normcore.cli.bench;

import java.util.List;
import java.util.Optional;
import org.normcore.Affine;
import org.normcore.DType;
import org.normcore.Device;
import org.normcore.Norm;
import org.normcore.NormKind;
import org.normcore.NormPolicy;
import org.normcore.cli.NormRequest;

/** Measures one norm in one type and shape, in all directions, on one device. */
interface Bench {
  /** The figures of an operation's calls. */
  default List<BenchCase> run(BenchOp op, DType dtype, long rows, long hiddenSize) {
    return op.norm().isPresent()
        ? run(op.norm().get(), dtype, rows, hiddenSize)
        : runOther(op, dtype, rows, hiddenSize);
  }

  /** The figures of a norm: infer, forward and backward. */
  List<BenchCase> run(NormKind kind, DType dtype, long rows, long hiddenSize);

  /** The figures of an operation other than a norm. */
  List<BenchCase> runOther(BenchOp op, DType dtype, long rows, long hiddenSize);

  /** The measured norm, with weight and, for LayerNorm, bias. */
  static Norm norm(
      NormKind kind, DType dtype, long hiddenSize, NormPolicy policy, Device device, int threads) {
    Affine affine = kind == NormKind.LAYER_NORM ? Affine.WEIGHT_AND_BIAS : Affine.WEIGHT;
    return new NormRequest(
            kind,
            new long[] {hiddenSize},
            1e-5,
            dtype,
            dtype,
            Optional.empty(),
            affine,
            policy,
            device,
            threads)
        .open();
  }
}
