package org.normcore;

import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CallContext;
import org.normcore.internal.Codes;
import org.normcore.internal.Fields.Backward;

/** The backward calls of a norm: checks, leases and the native call. */
final class NormBackward {
  private final Norm norm;

  NormBackward(Norm norm) {
    this.norm = norm;
  }

  /** Computes gradients from what a forward has saved. */
  void run(Saved saved, TensorView dy, Gradients gradients) {
    norm.guard.acquire();
    try (NormCall call = NormCall.take(norm)) {
      norm.requireOwn(saved, "saved");
      saved.guard().acquireExclusive();
      try {
        call.x = saved.source();
        call.weight = saved.weight();
        call.saved = saved;
        run(call.statistics(saved), saved.filledRows(), dy, gradients);
      } finally {
        // Releases the leases of the saved tensors first.
        call.leases.release();
        saved.guard().release();
      }
    } finally {
      norm.guard.release();
      Reference.reachabilityFence(norm);
    }
  }

  /** Computes gradients from the caller's tensors: x, weight, statistics, workspace of the call. */
  void run(NormCall call, TensorView dy, Gradients gradients) {
    norm.guard.acquire();
    try {
      long rows = norm.checks.requireMatrix("x", call.x, norm.inputDType());
      norm.checks.requireParameter("weight", call.weight, norm.affine().hasWeight());
      norm.checks.requireStatistics(call.mean, call.rstd, rows);
      run(call, rows, dy, gradients);
    } finally {
      norm.guard.release();
      Reference.reachabilityFence(norm);
    }
  }

  private void run(NormCall call, long rows, TensorView dy, Gradients gradients) {
    call.dy = dy;
    call.gradients = gradients;
    check(rows, dy, gradients);
    CudaStream stream = norm.streamOf(gradients.stream);
    TensorView dx = gradients.dx;
    TensorView dweight = gradients.dweight;
    TensorView dbias = gradients.dbias;
    TensorView dresidual = gradients.dresidual;
    CallContext context = call.context();
    context.size(norm.plan, rows, dweight != null, dbias != null);
    long workspaceBytes = context.workspaceBytes();
    OwnedMemory workspace = workspaceOf(call, workspaceBytes);
    Leases leases = call.leases;
    leases.use("workspace", workspace);
    leases.read("x", call.x);
    leases.read("weight", call.weight);
    leases.read("mean", call.mean);
    leases.read("rstd", call.rstd);
    leases.read("dy", dy);
    leases.write("dx", dx);
    leases.write("dweight", dweight);
    leases.write("dbias", dbias);
    leases.read("dresidual", dresidual);
    leases.use(stream);
    context
        .call
        .backward(norm.plan, rows)
        .setMatrix(Backward.X, Norm.addressOf(call.x), norm.stride(call.x))
        .set(Backward.WEIGHT, Norm.addressOf(call.weight))
        .setMatrix(Backward.DY, dy.address(), norm.stride(dy))
        .set(Backward.MEAN, call.meanAddress)
        .set(Backward.RSTD, call.rstdAddress)
        .setMatrix(Backward.DRESIDUAL, Norm.addressOf(dresidual), norm.stride(dresidual))
        .setMatrix(Backward.DX, Norm.addressOf(dx), norm.stride(dx))
        .set(Backward.WORKSPACE, workspaceBytes == 0 ? 0 : workspace.address())
        .set(Backward.WORKSPACE_BYTES, workspaceBytes)
        .set(Backward.STREAM, stream == null ? 0 : stream.handle());
    if (dweight != null) {
      context
          .call
          .set(Backward.DWEIGHT, dweight.address())
          .setInt(Backward.DWEIGHT_DTYPE, Codes.of(dweight.dtype()))
          .setInt(Backward.DWEIGHT_MODE, Codes.of(gradients.weightMode));
    }
    if (dbias != null) {
      context
          .call
          .set(Backward.DBIAS, dbias.address())
          .setInt(Backward.DBIAS_DTYPE, Codes.of(dbias.dtype()))
          .setInt(Backward.DBIAS_MODE, Codes.of(gradients.biasMode));
    }
    int inputs = 1 + (dx == null ? 0 : 1) + (dresidual == null ? 0 : 1);
    int sums = (dweight == null ? 0 : 1) + (dbias == null ? 0 : 1);
    // The first phase leaves one or a few partial sums per range of groups.
    long columnBytes =
        norm.contexts.mostRanges(context.groups())
            * norm.hiddenSize()
            * norm.statisticsDType().bytes()
            * sums;
    try {
      context.run(rows * norm.rowBytes(inputs, norm.gradientDType()), columnBytes);
    } finally {
      boolean overX = rows > 0 && dx != null && dx.address() == Norm.addressOf(call.x);
      if (call.saved != null && overX && context.started()) {
        call.saved.invalidate();
      }
    }
  }

  private void check(long rows, TensorView dy, Gradients gradients) {
    NormChecks checks = norm.checks;
    NormChecks.requireGradients(gradients);
    DType input = norm.inputDType();
    NormChecks.requireRows("dy", checks.requireMatrix("dy", dy, norm.gradientDType()), rows);
    if (gradients.dx != null) {
      NormChecks.requireRows("dx", checks.requireMatrix("dx", gradients.dx, input), rows);
    }
    if (gradients.dresidual != null) {
      NormChecks.requireRows(
          "dresidual", checks.requireMatrix("dresidual", gradients.dresidual, input), rows);
      if (gradients.dx == null) {
        throw new IllegalArgumentException(
            "dresidual: given without dx; expected a dx to add it to");
      }
    }
    checks.requireGradient(
        "dweight", gradients.dweight, gradients.weightMode, norm.affine().hasWeight());
    checks.requireGradient("dbias", gradients.dbias, gradients.biasMode, norm.affine().hasBias());
    checks.requireStream(gradients.stream);
  }

  /** Returns the call's workspace, or that of its {@link Saved}, of at least this size. */
  private @Nullable OwnedMemory workspaceOf(NormCall call, long bytes) {
    if (call.saved != null && bytes > 0) {
      call.workspace = call.saved.workspace(bytes);
    }
    OwnedMemory workspace = call.workspace;
    if (bytes > 0 && (workspace == null || workspace.bytes() < bytes)) {
      throw new IllegalArgumentException(
          "workspace: "
              + (workspace == null ? "null" : workspace.bytes() + " bytes")
              + "; expected at least "
              + bytes
              + " bytes for these gradients");
    }
    if (workspace != null) {
      norm.checks.requireDevice("workspace", workspace.device());
    }
    return workspace;
  }
}
