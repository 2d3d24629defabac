package org.normcore;

import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CallContext;
import org.normcore.internal.Fields.Forward;

/** The forward calls of a norm: checks, leases and the native call. */
final class NormForward {
  private final Norm norm;

  NormForward(Norm norm) {
    this.norm = norm;
  }

  /** Computes y and saves what the backward needs in a new {@link Saved}. */
  Saved save(Operands operands) {
    NormChecks.requireOperands(operands);
    TensorView weight = beginWeight(operands);
    boolean done = false;
    try (NormCall call = NormCall.take(norm)) {
      Saved saved = save(call.set(operands, weight));
      done = true;
      return saved;
    } finally {
      endWeight(operands, done);
    }
  }

  Saved save(TensorView x, @Nullable TensorView weight, @Nullable TensorView bias, TensorView y) {
    try (NormCall call = NormCall.take(norm)) {
      return save(call.set(x, weight, bias, y));
    }
  }

  private Saved save(NormCall call) {
    norm.guard.acquire();
    try {
      long rows = check(call);
      TensorView source = sourceOf(call);
      Saved saved = norm.makeSaved(rows);
      boolean done = false;
      try {
        run(call.statistics(saved), rows);
        saved.fill(rows, source, call.weight);
        done = true;
        return saved;
      } finally {
        if (!done) {
          saved.close();
        }
      }
    } finally {
      norm.guard.release();
      Reference.reachabilityFence(norm);
    }
  }

  /** Computes y and saves what the backward needs in {@code reuse}. */
  void save(Operands operands, Saved reuse) {
    NormChecks.requireOperands(operands);
    TensorView weight = beginWeight(operands);
    boolean done = false;
    try (NormCall call = NormCall.take(norm)) {
      save(call.set(operands, weight), reuse);
      done = true;
    } finally {
      endWeight(operands, done);
    }
  }

  private void save(NormCall call, Saved reuse) {
    norm.guard.acquire();
    try {
      long rows = check(call);
      TensorView source = sourceOf(call);
      norm.requireOwn(reuse, "reuse");
      reuse.guard().acquireExclusive();
      boolean untrue = false;
      try {
        if (rows > reuse.capacity()) {
          throw new IllegalArgumentException(
              "reuse: made for "
                  + reuse.capacity()
                  + " rows; expected at least "
                  + rows
                  + ", as x has");
        }
        untrue = true;
        run(call.statistics(reuse), rows);
        reuse.fill(rows, source, call.weight);
        untrue = false;
      } finally {
        if (untrue) {
          reuse.invalidate();
        }
        reuse.guard().release();
      }
    } finally {
      norm.guard.release();
      Reference.reachabilityFence(norm);
    }
  }

  /** Computes y and the statistics. */
  void write(Operands operands, @Nullable TensorView mean, TensorView rstd) {
    NormChecks.requireOperands(operands);
    TensorView weight = beginWeight(operands);
    boolean done = false;
    try (NormCall call = NormCall.take(norm)) {
      call.set(operands, weight);
      norm.guard.acquire();
      try {
        long rows = check(call);
        norm.checks.requireStatistics(mean, rstd, rows);
        run(call.statistics(mean, rstd), rows);
      } finally {
        norm.guard.release();
        Reference.reachabilityFence(norm);
      }
      done = true;
    } finally {
      endWeight(operands, done);
    }
  }

  /** Computes y alone. */
  void infer(Operands operands) {
    NormChecks.requireOperands(operands);
    TensorView weight = beginWeight(operands);
    boolean done = false;
    try (NormCall call = NormCall.take(norm)) {
      infer(call.set(operands, weight));
      done = true;
    } finally {
      endWeight(operands, done);
    }
  }

  void infer(TensorView x, @Nullable TensorView weight, @Nullable TensorView bias, TensorView y) {
    try (NormCall call = NormCall.take(norm)) {
      infer(call.set(x, weight, bias, y));
    }
  }

  private void infer(NormCall call) {
    norm.guard.acquire();
    try {
      run(call, check(call));
    } finally {
      norm.guard.release();
      Reference.reachabilityFence(norm);
    }
  }

  /** Checks dtypes, shapes and devices, and returns the number of rows. */
  private long check(NormCall call) {
    long rows =
        norm.checks.requireForward(
            call.x, call.weight, call.bias, call.y, call.residual, call.residualOut);
    norm.checks.requireScales(call.yScale, call.yAmax, call.yScaleInv, rows);
    return rows;
  }

  /** The tensor that is normalised, which a backward reads again. */
  private static TensorView sourceOf(NormCall call) {
    TensorView source = call.residualOut == null ? call.x : call.residualOut;
    NormChecks.requireSourceKept(source, call.y);
    return source;
  }

  /** Runs a checked call. The native side checks overlaps before it writes. */
  private void run(NormCall call, long rows) {
    norm.checks.requireStream(call.stream);
    CudaStream stream = norm.streamOf(call.stream);
    Leases leases = call.leases;
    leases.read("x", call.x);
    leases.read("weight", call.weight);
    leases.read("bias", call.bias);
    leases.write("y", call.y);
    leases.read("residual", call.residual);
    leases.write("residualOut", call.residualOut);
    leases.write("mean", call.mean);
    leases.write("rstd", call.rstd);
    leases.read("yScale", call.yScale);
    leases.write("yAmax", call.yAmax);
    leases.write("yScaleInv", call.yScaleInv);
    leases.use(stream);
    if (rows == 0) {
      return;
    }
    CallContext context = call.context();
    context
        .call
        .forward(norm.plan, rows)
        .setMatrix(Forward.X, Norm.addressOf(call.x), norm.stride(call.x))
        .setMatrix(Forward.RESIDUAL, Norm.addressOf(call.residual), norm.stride(call.residual))
        .set(Forward.WEIGHT, Norm.addressOf(call.weight))
        .set(Forward.BIAS, Norm.addressOf(call.bias))
        .setMatrix(Forward.Y, Norm.addressOf(call.y), norm.stride(call.y))
        .setMatrix(
            Forward.RESIDUAL_OUT, Norm.addressOf(call.residualOut), norm.stride(call.residualOut))
        .set(Forward.MEAN, call.meanAddress)
        .set(Forward.RSTD, call.rstdAddress)
        .set(Forward.Y_SCALE, Norm.addressOf(call.yScale))
        .set(Forward.Y_AMAX, Norm.addressOf(call.yAmax))
        .set(Forward.Y_SCALE_INV, Norm.addressOf(call.yScaleInv))
        .set(Forward.STREAM, stream == null ? 0 : stream.handle());
    context.run(rows * norm.rowBytes(call.residual == null ? 1 : 3, norm.outputDType()), 0);
  }

  /**
   * Returns the weight of a forward as a tensor; for an FP8 parameter its dequantised copy,
   * acquired until {@link #endWeight}.
   */
  private @Nullable TensorView beginWeight(Operands operands) {
    Fp8Parameter parameter = operands.fp8Weight;
    if (parameter == null) {
      return operands.weight;
    }
    norm.checks.requireFp8Weight(parameter);
    norm.checks.requireStream(operands.stream);
    return parameter.beginForward(norm.weightDType(), norm.streamOf(operands.stream));
  }

  private static void endWeight(Operands operands, boolean succeeded) {
    if (operands.fp8Weight != null) {
      operands.fp8Weight.endForward(succeeded);
    }
  }
}
