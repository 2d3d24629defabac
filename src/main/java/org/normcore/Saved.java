package org.normcore;

import org.jspecify.annotations.Nullable;
import org.normcore.internal.UseGuard;

/**
 * The state that a forward call saves for the backward: the statistics of each row, and references
 * to the tensors that the backward reads.
 *
 * <p>The state is explicit and belongs to the norm that made it: no tape, no globals, first order
 * only. {@link Norm#forward(Operands, Saved)} can refill it, and any number of backward calls may
 * use it until it is closed. It does not own {@code x} (in the residual-fused form {@code
 * residualOut}) or the weight; both must stay unchanged until the backward has run.
 *
 * <pre>{@code
 * try (RmsNorm norm =
 *         RmsNorm.builder(2).affine(Affine.NONE)
 *             .input(DType.FLOAT32).policy(NormPolicy.PYTORCH).build();
 *     NativeBuffer memory = NativeBuffer.allocate(DType.FLOAT32, 2, 2);
 *     Saved saved = norm.newSaved(1)) {
 *   TensorView x = memory.view(DType.FLOAT32, 2, 2).rows(0, 1).copyFrom(new float[] {3, 4});
 *   TensorView y = memory.view(DType.FLOAT32, 2, 2).rows(1, 2);
 *   norm.forward(Operands.of(x, y), saved);          // repeat per step: no allocation
 *   System.out.println(saved.rstd().toFloats()[0]);  // 0.2828426
 *   norm.backward(saved, y, Gradients.of(y));        // y is also dy and dx
 * }
 * }</pre>
 *
 * <p>Memory: one or two compute-type numbers per row, and the workspace for the gradients of weight
 * and bias, which the first backward that computes them allocates or grows. {@link #close()} frees
 * both; otherwise the garbage collector does. Only one call at a time may use the object; a
 * concurrent call throws.
 *
 * <p>On a CUDA device the memory is device memory, allocated at once, including the workspace for
 * all gradients of the norm: forward and backward do not allocate and can be captured into a CUDA
 * graph. The backward must run after the forward, in the same stream or in one that waits for it;
 * likewise the next forward after the backward. Allocating and closing stall the whole device, and
 * closing waits until it is idle: reuse one object from {@link Norm#newSaved} instead of creating
 * one per forward.
 */
public final class Saved implements AutoCloseable {
  private static final String NAME = "Saved";

  private final Norm norm;
  private final long capacity;
  private final UseGuard guard = new UseGuard(NAME);
  private final OwnedMemory statistics;
  private final long meanOffset;
  private @Nullable OwnedMemory workspace;

  private long rows;
  private @Nullable TensorView x;
  private @Nullable TensorView weight;

  /** Creates an empty object with a workspace of the given size. */
  Saved(Norm norm, long capacity, long workspaceBytes) {
    this.norm = norm;
    this.capacity = capacity;
    long bytes = capacity * norm.statisticsDType().bytes();
    this.meanOffset = norm.kind() == NormKind.LAYER_NORM ? bytes : -1;
    this.statistics = norm.allocate(meanOffset < 0 ? bytes : 2 * bytes);
    if (workspaceBytes > 0) {
      boolean done = false;
      try {
        this.workspace = norm.allocate(workspaceBytes);
        done = true;
      } finally {
        if (!done) {
          statistics.close();
        }
      }
    }
  }

  /**
   * Returns the number of rows of the last forward call.
   *
   * @throws IllegalStateException if it is empty or closed
   */
  public long rows() {
    guard.checkOpen();
    source();
    return rows;
  }

  /** Returns the maximum number of rows. */
  public long capacity() {
    return capacity;
  }

  /**
   * Returns the rows' means, {@code [rows]} in the compute type, for LayerNorm; null for RMSNorm. A
   * view of this object's memory: the next forward call changes it.
   *
   * @throws IllegalStateException if it is empty or closed
   */
  public @Nullable TensorView mean() {
    source();
    return meanOffset < 0 ? null : statistics.view(meanOffset, norm.statisticsDType(), rows);
  }

  /**
   * Returns the rows' {@code 1/sqrt(.. + epsilon)}, {@code [rows]} in the compute type. A view of
   * this object's memory: the next forward call changes it.
   *
   * @throws IllegalStateException if it is empty or closed
   */
  public TensorView rstd() {
    source();
    return statistics.view(norm.statisticsDType(), rows);
  }

  /**
   * Frees the memory. A second call does nothing. Views of the statistics become invalid.
   *
   * @throws IllegalStateException if a call is using it
   * @throws CudaException if CUDA reports an error, from this call or from earlier work
   */
  @Override
  public void close() {
    if (!guard.isOpen()) {
      return;
    }
    guard.acquireExclusive();
    boolean refused = false;
    try {
      statistics.close();
    } catch (IllegalStateException e) {
      refused = true;
      throw e;
    } finally {
      if (refused) {
        guard.release();
      } else {
        x = null;
        weight = null;
        guard.closeExclusive();
        if (workspace != null) {
          workspace.close();
        }
      }
    }
  }

  /** Returns, for example, {@code Saved(512 rows of RmsNorm)}. */
  @Override
  public String toString() {
    return NAME + (guard.isOpen() ? "(" : "(closed, ") + rows + " rows of " + norm.name() + ")";
  }

  Norm norm() {
    return norm;
  }

  UseGuard guard() {
    return guard;
  }

  long rstdAddress() {
    return statistics.address();
  }

  /** The address of the means, or 0 for RMSNorm. */
  long meanAddress() {
    return meanOffset < 0 ? 0 : statistics.address() + meanOffset;
  }

  void fill(long rows, TensorView x, @Nullable TensorView weight) {
    this.rows = rows;
    this.x = x;
    this.weight = weight;
  }

  long filledRows() {
    return rows;
  }

  /** Invalidates the saved state. */
  void invalidate() {
    x = null;
    weight = null;
    rows = 0;
  }

  /** The normalised tensor. */
  TensorView source() {
    TensorView source = x;
    if (source == null) {
      guard.checkOpen();
      throw new IllegalStateException(
          "Saved holds nothing: no forward call has filled it, or a backward has written dx over"
              + " its x");
    }
    return source;
  }

  @Nullable TensorView weight() {
    return weight;
  }

  /**
   * The workspace, grown to the given size if it is smaller. The caller must have exclusive use.
   */
  OwnedMemory workspace(long bytes) {
    OwnedMemory present = workspace;
    if (present != null && present.bytes() >= bytes) {
      return present;
    }
    OwnedMemory grown = norm.allocate(bytes);
    workspace = grown;
    if (present != null) {
      present.close();
    }
    return grown;
  }
}
