package org.normcore;

import org.jspecify.annotations.Nullable;
import org.normcore.internal.UseGuard;

/**
 * What a forward call saves for the backward: the statistics of each row, and references to the
 * tensors that the backward reads.
 *
 * <p>Explicit state, tied to the norm that made it: no tape, nothing global, first order only. It
 * can be filled again by {@link Norm#forward(Operands, Saved)} and serve any number of backward
 * calls until it is closed. It does not own {@code x} (in the residual-fused form {@code
 * residualOut}) and the weight: both must stay unchanged until the backward has run.
 *
 * <p>Memory: one or two compute-type numbers per row, and the workspace of the weight's gradients,
 * which grows on the first backward that wants them and is kept. Freed by {@link #close()}, or some
 * time after the object has become unreachable. One call at a time may use it; a second one is
 * refused.
 *
 * <p>On a CUDA device. The memory is the device's, and all of it, the workspace for all gradients
 * that the norm has included, is allocated at once: forward and backward allocate nothing and can
 * be captured into a CUDA graph. The backward must come after the forward on the device: in the
 * same stream, or in one that waits for it; and so must the next forward that fills this object
 * after the backward. Allocating and closing hold up the whole device, and closing waits until it
 * has done all of its work: better fill one made by {@link Norm#newSaved} again and again than make
 * a new one for each forward.
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

  /** Makes an empty one with as much workspace to begin with. */
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
   * @throws IllegalStateException if no forward call has filled it, or it is closed
   */
  public long rows() {
    guard.checkOpen();
    source();
    return rows;
  }

  /** Returns the largest number of rows it can take. */
  public long capacity() {
    return capacity;
  }

  /**
   * Returns the rows' means, {@code [rows]} in the compute type, as LayerNorm saves them; null for
   * RMSNorm. A view of this object's memory: the next forward call changes it.
   *
   * @throws IllegalStateException if no forward call has filled it, or it is closed
   */
  public @Nullable TensorView mean() {
    source();
    return meanOffset < 0 ? null : statistics.view(meanOffset, norm.statisticsDType(), rows);
  }

  /**
   * Returns the rows' {@code 1/sqrt(.. + epsilon)}, {@code [rows]} in the compute type. A view of
   * this object's memory: the next forward call changes it.
   *
   * @throws IllegalStateException if no forward call has filled it, or it is closed
   */
  public TensorView rstd() {
    source();
    return statistics.view(norm.statisticsDType(), rows);
  }

  /**
   * Frees the memory. Does nothing if that has been done. Views of the statistics are refused from
   * then on.
   *
   * @throws IllegalStateException if a call is using it
   * @throws CudaException if CUDA reports an error, its own or that of earlier work
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

  /** Drops what was saved, because it is no longer true. */
  void forget() {
    x = null;
    weight = null;
    rows = 0;
  }

  /** What was normalised. */
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
   * The workspace, grown to the given size if it is smaller. To be called by the one call that uses
   * this object.
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
