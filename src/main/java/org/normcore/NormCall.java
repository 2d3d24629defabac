package org.normcore;

import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import org.normcore.internal.CallContext;

/** The operands of one call of a norm, forward or backward. Reused; not thread-safe. */
final class NormCall implements AutoCloseable {
  final Leases leases = new Leases();
  private @Nullable CallContext context;

  @Nullable TensorView x;
  @Nullable TensorView weight;
  @Nullable TensorView mean;
  @Nullable TensorView rstd;
  // The statistics' addresses: of the tensors above, of a Saved, or 0.
  long meanAddress;
  long rstdAddress;
  @Nullable CudaStream stream;

  // Forward.
  @Nullable TensorView bias;
  @Nullable TensorView y;
  @Nullable TensorView residual;
  @Nullable TensorView residualOut;
  @Nullable TensorView yScale;
  @Nullable TensorView yAmax;
  @Nullable TensorView yScaleInv;

  // Backward.
  @Nullable TensorView dy;
  @Nullable Gradients gradients;
  @Nullable Saved saved;
  @Nullable OwnedMemory workspace;

  /** Takes a call from the norm's pool. */
  static NormCall take(Norm norm) {
    CallContext context = norm.contexts.take();
    NormCall call = context.state(NormCall::new);
    call.context = context;
    return call;
  }

  CallContext context() {
    CallContext context = this.context;
    if (context == null) {
      throw new IllegalStateException("not taken");
    }
    return context;
  }

  /** Sets the operands of a forward; {@code weight} replaces theirs. */
  NormCall set(Operands operands, @Nullable TensorView weight) {
    set(operands.x, weight, operands.bias, operands.y);
    residual = operands.residual;
    residualOut = operands.residualOut;
    yScale = operands.yScale;
    yAmax = operands.yAmax;
    yScaleInv = operands.yScaleInv;
    stream = operands.stream;
    return this;
  }

  /** Sets the operands of a forward. */
  NormCall set(TensorView x, @Nullable TensorView weight, @Nullable TensorView bias, TensorView y) {
    this.x = x;
    this.weight = weight;
    this.bias = bias;
    this.y = y;
    return this;
  }

  /** Sets the statistics that the caller provides. */
  NormCall statistics(@Nullable TensorView mean, @Nullable TensorView rstd) {
    this.mean = mean;
    this.rstd = rstd;
    meanAddress = Norm.addressOf(mean);
    rstdAddress = Norm.addressOf(rstd);
    return this;
  }

  /** Sets the statistics of a {@link Saved}. */
  NormCall statistics(Saved saved) {
    meanAddress = saved.meanAddress();
    rstdAddress = saved.rstdAddress();
    return this;
  }

  /** Releases what the call uses, forgets its operands and returns it to the pool. */
  @Override
  public void close() {
    leases.release();
    // The garbage collector must not free the memory of a tensor before this.
    Reference.reachabilityFence(x);
    Reference.reachabilityFence(weight);
    Reference.reachabilityFence(mean);
    Reference.reachabilityFence(rstd);
    Reference.reachabilityFence(stream);
    Reference.reachabilityFence(bias);
    Reference.reachabilityFence(y);
    Reference.reachabilityFence(residual);
    Reference.reachabilityFence(residualOut);
    Reference.reachabilityFence(yScale);
    Reference.reachabilityFence(yAmax);
    Reference.reachabilityFence(yScaleInv);
    Reference.reachabilityFence(dy);
    Reference.reachabilityFence(gradients);
    Reference.reachabilityFence(saved);
    Reference.reachabilityFence(workspace);
    x = weight = mean = rstd = bias = y = residual = residualOut = null;
    yScale = yAmax = yScaleInv = dy = null;
    stream = null;
    gradients = null;
    saved = null;
    workspace = null;
    meanAddress = rstdAddress = 0;
    CallContext used = context();
    context = null;
    used.release();
  }
}
